"""Pictures written while training, to PNG files and TensorBoard."""

import io
import time
from pathlib import Path

import keras
import numpy as np

from keras_regvq.backend.fit_state import synchronize
from keras_regvq.backend.processes import is_first_process
from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.checks.arrays import check_images
from keras_regvq.files.replacing import replacing
from keras_regvq.pictures import code_counts, image_grid, usage_histogram


class EpochPicture(keras.callbacks.Callback):
    """Base: writes `picture()` to DIRECTORY/NAME_0001.png every `every` epochs.

    Args:
        directory: where to write; made if missing.
        name: start of the file names, and TensorBoard's tag.
        every: epochs between pictures.
        log_dir: also write TensorBoard events there; needs the package tensorboard.

    Example:
        ```python
        # What each code stands for, every epoch.
        class CodesPicture(keras_regvq.training.callbacks.EpochPicture):
            def picture(self):
                return keras_regvq.pictures.codebook_picture(self.tokenizer)

        trainer = keras_regvq.training.TokenizerTrainer(keras_regvq.from_preset("regvq_patch4_256"))
        trainer.compile("adam")
        trainer.fit(images, callbacks=[CodesPicture("pictures", "codes")])  # codes_0001.png
        ```
    """

    def __init__(self, directory, name, every=1, log_dir=None):
        super().__init__()
        self.directory, self.name = Path(directory), name
        self.every = check_positive_integer("every", every)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.writer = None
        if log_dir is not None:
            from tensorboard.summary.writer.event_file_writer import EventFileWriter

            self.writer = EventFileWriter(str(log_dir))

    def picture(self):
        """The PIL image of this epoch."""
        raise NotImplementedError(f"{type(self).__name__} must implement picture()")

    @property
    def tokenizer(self):
        if not hasattr(self.model, "tokenizer"):
            received = f"a {type(self.model).__name__}"
            refuse("model", received, "one with a tokenizer, such as a TokenizerTrainer")
        synchronize(self.model)
        return self.model.tokenizer

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every:
            return
        picture = self.picture()  # by all of the processes that train together, but for one file
        if not is_first_process():
            return
        with replacing(self.directory / f"{self.name}_{epoch + 1:04d}.png") as part:
            picture.save(part)
        if self.writer is not None:
            self.writer.add_event(_image_event(self.name, picture, epoch))
            self.writer.flush()

    def on_train_end(self, logs=None):
        if self.writer is not None:
            self.writer.flush()


class _PictureOfImages(EpochPicture):
    def __init__(self, images, directory, name, every, log_dir):
        super().__init__(directory, name, every, log_dir)
        self.images = check_images("images", images, channels=None)

    def on_train_begin(self, logs=None):
        self.tokenizer.check_images("images", self.images)  # not after the first epoch


class ReconstructionGrid(_PictureOfImages):
    """Images above their reconstructions, every epoch.

    Args:
        images: (B, H, W, 3), uint8 or float in [0, 1].
        directory, every, log_dir: as in `EpochPicture`.

    Example:
        ```python
        trainer = keras_regvq.training.TokenizerTrainer(keras_regvq.from_preset("regvq_patch4_256"))
        trainer.compile("adam")
        grid = keras_regvq.training.ReconstructionGrid(images, "pictures")
        trainer.fit(images, epochs=1, callbacks=[grid])  # pictures/reconstructions_0001.png
        ```
    """

    def __init__(self, images, directory, every=1, log_dir=None):
        super().__init__(images, directory, "reconstructions", every, log_dir)

    def picture(self):
        return image_grid([self.images, self.tokenizer.reconstruct(self.images)])


class CodebookHistogram(_PictureOfImages):
    """How often each code is used to encode the given images, every epoch.

    Args:
        images: (B, H, W, 3), uint8 or float in [0, 1].
        directory, every, log_dir: as in `EpochPicture`.

    Example:
        ```python
        trainer = keras_regvq.training.TokenizerTrainer(keras_regvq.from_preset("regvq_patch4_256"))
        trainer.compile("adam")
        histogram = keras_regvq.training.CodebookHistogram(images, "pictures")
        trainer.fit(images, epochs=1, callbacks=[histogram])  # pictures/codebook_0001.png
        ```
    """

    def __init__(self, images, directory, every=1, log_dir=None):
        super().__init__(images, directory, "codebook", every, log_dir)

    def picture(self):
        counts = code_counts(self.tokenizer, self.tokenizer.encode(self.images))
        return usage_histogram(counts, f"{np.mean(counts > 0):.0%} of the codes used")


def _image_event(tag, picture, step):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    image = Summary.Image(
        height=picture.height,
        width=picture.width,
        colorspace=3,
        encoded_image_string=buffer.getvalue(),
    )
    summary = Summary(value=[Summary.Value(tag=tag, image=image)])
    return Event(wall_time=time.time(), step=step, summary=summary)

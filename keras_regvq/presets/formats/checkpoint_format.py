"""What a format of other projects' checkpoints has to do, and what it is given to do it with."""

import functools
from pathlib import Path

from keras_regvq.files.safetensors_files import read_safetensors
from keras_regvq.files.torch_pickle import read_torch_file

# In upper case, too, and with ".tar" behind: archives in name only.
SUFFIXES = (".ckpt", ".pth", ".pt", ".bin", ".pkl", ".safetensors")


def names_tensors(name):
    """Whether a file of this name can hold tensors; what torch writes may be called .pth.tar."""
    return name.lower().removesuffix(".tar").endswith(SUFFIXES)


class Checkpoint:
    """A file of tensors or a folder, which is read when it is first needed.

    Attributes:
        path: Path of the file or folder.
        source: what to call it in errors.
        config: path of the config file that was given with it, or None.
    """

    def __init__(self, location, config=None):
        self.path, self.source, self.config = Path(location), repr(str(location)), config

    @property
    def is_file(self):
        """Whether it is a file that can hold tensors, by its name."""
        return self.path.is_file() and names_tensors(self.path.name)

    @functools.cached_property
    def contents(self):
        """What the file holds: usually a state dict, or a dict with one as "state_dict".

        A pickle is never executed: `files.torch_pickle`.

        Raises:
            ValueError: naming the file, if it is damaged or holds code.
        """
        if self.path.name.lower().endswith(".safetensors"):
            return read_safetensors(self.path)
        return read_torch_file(self.path)


class CheckpointFormat:
    """Base class: how one project keeps its tokenizers of images, both ways.

    A format is a file of this folder with a subclass of this, and a line in `presets.convert`,
    which asks one after the other. All that it reads is another's: it checks every tensor before it
    sets the first, and refuses what is missing, left over, misshapen or no finite number.

    Attributes:
        name: what `export(format=...)` and the convert command call it.
        takes_config: whether the project's own config file can go with a checkpoint.
    """

    name = None
    takes_config = False

    def matches(self, checkpoint):
        """Whether a `Checkpoint` is of this project. No refusal: `load` says what is wrong.

        To look at `checkpoint.contents` reads the file: ask `checkpoint.is_file` before.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement matches()")

    def load(self, checkpoint, image_size=None, config=None):
        """Turn a `Checkpoint` into a tokenizer.

        Args:
            checkpoint: one that `matches`.
            image_size: int or (H, W) the tokenizer is for; None: what the checkpoint says, or 16
                tokens a side.
            config: path of the project's config file; only with `takes_config`.

        Returns:
            the ImageTokenizer, and the names of the tensors that were left aside.

        Raises:
            ValueError: for a damaged checkpoint, and one of a kind that is not supported.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement load()")

    def save(self, tokenizer, directory):
        """Write a tokenizer so that the project reads it.

        Args:
            tokenizer: an ImageTokenizer of images of 3 channels.
            directory: Path, made if missing.

        Returns:
            Path of the file with the weights.

        Raises:
            ValueError: for a tokenizer that the project cannot represent.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement save()")

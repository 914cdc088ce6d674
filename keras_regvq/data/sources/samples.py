"""What archives hold example by example: pictures as files in memory, and texts."""

import glob
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

from keras_regvq.checks.arguments import check_size, refuse
from keras_regvq.data.decoding import fit_image, read_image, shown_size
from keras_regvq.data.image_files import MAX_PIXELS, EncodedPicture, open_picture
from keras_regvq.data.label_maps import read_labels
from keras_regvq.data.order import tensorflow


@dataclass
class Sample:
    """An example that is not decoded yet.

    Args:
        key: its name, unique in its data set.
        image, labels: `EncodedPicture`, or None where there is none.
        captions: texts.
    """

    key: str
    image: EncodedPicture | None = None
    labels: EncodedPicture | None = None
    captions: tuple = ()

    def decoded(self, size, fields, channels=3, max_pixels=MAX_PIXELS):
        """dict of the fields, as `pipeline.example_dataset` says.

        Raises:
            ValueError: naming the sample, for one that lacks a field or cannot be decoded.
        """
        example = {}
        if "images" in fields and "labels" in fields and self.image and self.labels:
            self._check_sizes(max_pixels)
        for field, value in (
            ("images", self.image), ("labels", self.labels), ("captions", self.captions)
        ):  # fmt: skip
            if field in fields and not value:
                raise ValueError(f'{self.key} has nothing for the field "{field}".')
        if "images" in fields:
            image = read_image(self.image, max(size), channels, max_pixels)
            example["images"] = fit_image(image, *size)
        if "labels" in fields:
            example["labels"] = read_labels(self.labels, size, max_pixels=max_pixels)
        if "captions" in fields:
            example["captions"] = self.captions
        return example

    def _check_sizes(self, max_pixels):
        """A label map of another shape would be cropped to other parts than the picture."""
        with (
            open_picture(self.image, max_pixels) as image,
            open_picture(self.labels, max_pixels) as labels,
        ):
            if shown_size(image) != labels.size:
                sizes = f"{shown_size(image)}, its label map {labels.size}"
                raise ValueError(f"{self.key} has width and height {sizes}.")


class SampleStream:
    """Samples of shards, for `streams.stream_dataset`.

    Args:
        shards: files.
        samples: function of a shard that yields `Sample`.
        split: "train" or "test", what is in it is chosen by `in_split`, or "all".
        image_size: Side, or (height, width), that images and label maps are brought to.
        channels, max_pixels: as in `decoding.read_image`.
    """

    width = 4
    names = {}
    count = None  # known when all have been read

    def __init__(self, shards, samples, split, image_size, channels=3, max_pixels=MAX_PIXELS):
        self.shards, self._samples, self._split = shards, samples, split
        self.size, self.channels = check_size("image_size", image_size), channels
        self._max_pixels = max_pixels

    def samples(self, shard):
        """The samples of a shard that are in the split."""
        return (s for s in self._samples(shard) if in_split(s.key, self._split))

    def records(self, shard):
        for sample in self.samples(shard):
            pictures = [b"" if p is None else p.data for p in (sample.image, sample.labels)]
            yield sample.key.encode(), *pictures, json.dumps(sample.captions).encode()

    def decoded(self, record, fields, draw):
        key, image, labels, captions = record
        key = key.decode()
        pictures = [EncodedPicture(key, data) if data else None for data in (image, labels)]
        sample = Sample(key, *pictures, tuple(json.loads(captions)))
        example = sample.decoded(self.size, fields, self.channels, self._max_pixels)
        if "captions" in example:
            example["captions"] = drawn_caption(example["captions"], draw)
        return example

    def element_spec(self, field):
        tf = tensorflow()
        if field == "images":
            return tf.TensorSpec((*self.size, self.channels), tf.uint8)
        return {
            "labels": tf.TensorSpec(self.size, tf.int32),
            "captions": tf.TensorSpec((), tf.string),
        }[field]


def drawn_caption(captions, draw):
    """UTF-8 of one of the captions, by a draw of 32 bits."""
    return captions[draw % len(captions)].encode()


def in_split(key, split):
    """Whether an example is in a split: those whose key has a CRC-32 that 10 divides are to test.

    So it stays in its split, whatever is added.
    """
    return split == "all" or (zlib.crc32(key.encode()) % 10 == 0) == (split == "test")


def files_of(source, pattern):
    """The regular files, sorted, that a glob names: shards in their order.

    Raises:
        ValueError: naming the source, if there are none.
    """
    path = Path(pattern).expanduser()
    found = [path] if path.is_file() else glob.glob(str(path), recursive=True)
    files = sorted(Path(name) for name in found if Path(name).is_file())
    if not files:
        refuse("source", f'"{source}:{pattern}"', "the path or the glob of files that exist")
    return files

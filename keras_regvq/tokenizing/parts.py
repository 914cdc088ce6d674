"""A data set in parts, each of which becomes a shard of tokens: the unit that is done or not."""

import hashlib
from pathlib import Path

from keras_regvq.checks.arguments import check_size, refuse
from keras_regvq.data.loading import open_examples, open_stream, parse_source
from keras_regvq.files.regular_files import shown_name
from keras_regvq.tokenizing.tfds_parts import TfdsParts


def open_parts(source, split, image_size, fields, channels, num_examples, examples_per_shard):
    """Open a source of `data.load` as parts.

    A file of "webdataset:" and "parquet:" is a part. Of other sources each `examples_per_shard`
    examples are. The same source gives the same parts.

    Returns:
        `NumberedParts`, `StreamParts` or `TfdsParts`: `len`, `size` (height, width), `names()`,
        texts that tell it from another set of pictures, and `read(number)`, which yields a (name,
        function) for each example; the function, for any thread, gives the decoded example, or
        raises ValueError.

    Raises:
        ValueError: for a source that does not fit.
    """
    kind, location = parse_source(source)
    if location and kind != "tfds":  # workers may run elsewhere
        location = str(Path(location).expanduser().absolute())
    if kind == "tokens":
        refuse(
            "source", repr(source), "pictures: scenes, a folder, tfds:, webdataset:, parquet: ..."
        )
    if kind == "tfds":
        size = check_size("image_size", image_size)
        return TfdsParts(location, split, size, fields, channels, num_examples, examples_per_shard)
    if kind in ("webdataset", "parquet"):
        if num_examples is not None:
            refuse("num_examples", num_examples, f"None for {kind}: whose files are read whole")
        return StreamParts(open_stream(kind, location, split, image_size, channels), fields)
    examples = open_examples(
        kind, location, split, image_size, fields, num_examples, channels=channels
    )
    return NumberedParts(examples, fields, examples_per_shard)


def digest(names):
    """A short text that differs for other names, or another order."""
    hashed = hashlib.sha256()
    for name in names:
        hashed.update(f"{name}\n".encode("utf-8", "backslashreplace"))
    return hashed.hexdigest()[:16]


class NumberedParts:
    """Ranges of examples that are read by number."""

    def __init__(self, examples, fields, examples_per_shard):
        self._examples, self._fields, self._step = examples, fields, examples_per_shard
        self.size = examples.size

    def __len__(self):
        return -(-len(self._examples) // self._step)

    def names(self):
        return map(self._examples.name, range(len(self._examples)))

    def read(self, number):
        start = number * self._step
        for index in range(start, min(start + self._step, len(self._examples))):
            yield self._examples.name(index), lambda index=index: self._read(index)

    def _read(self, index):
        return self._examples.read_alone(index, self._fields)


class StreamParts:
    """Files of samples."""

    def __init__(self, stream, fields):
        self._stream, self._fields = stream, fields
        self.size = stream.size

    def __len__(self):
        return len(self._stream.shards)

    def names(self):
        return (f"{Path(s).name} {Path(s).stat().st_size}" for s in self._stream.shards)

    def read(self, number):
        shard = self._stream.shards[number]
        try:
            for sample in self._stream.samples(shard):
                yield sample.key, lambda sample=sample: self._decoded(sample)
        except (ValueError, OSError) as error:
            message = f"The rest of {shown_name(shard)}: {error}"
            yield shown_name(shard), lambda: _raise(message)

    def _decoded(self, sample):
        return sample.decoded(self.size, self._fields, self._stream.channels)


def _raise(message):
    raise ValueError(message)

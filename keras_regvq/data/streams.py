"""From shards, read from start to end, to a `tf.data.Dataset`: as large a set as there may be."""

import warnings

import numpy as np

from keras_regvq.backend.processes import process_index_and_count
from keras_regvq.checks.arguments import refuse
from keras_regvq.data.order import pass_numbers, tensorflow
from keras_regvq.data.pipeline import is_flipped
from keras_regvq.files.regular_files import shown_name

_SHUFFLED_BYTES = 2**28  # of records that wait to be drawn, before they are decoded
_FEWEST, _MOST = 64, 2**15


def stream_dataset(stream, fields, shuffle, seed, flip, limit=None, endless=False):
    """A `tf.data.Dataset` of single examples, of unknown cardinality.

    Shuffled are the shards, anew in each pass, and a buffer of what is read from them. Of several
    processes each reads every n-th shard. A record that cannot be decoded, and the rest of a shard
    that is damaged, are left out; one warning names the first.

    Args:
        stream: Has `shards`, files; `records(shard)`, which yields tuples of bytes, `width` of
            them in each; `decoded(record, fields, draw)`, a dict of arrays by field, of which
            `element_spec(field)` is the `tf.TensorSpec`, and `names`, what fields are called in
            the end.
        fields: Names of the fields to read.
        shuffle: Whether each pass has its own order.
        seed: Integer >= 0.
        flip: Whether half of the examples are mirrored left to right.
        limit: At most so many records a pass of all processes, the first ones of the shards in
            their order, whether shuffled or not; None: all.
        endless: Whether passes follow each other without end.

    Raises:
        ValueError: for fewer shards than processes.
    """
    tf = tensorflow()
    index, count = process_index_and_count()
    if len(stream.shards) < count:
        refuse("source", f"{len(stream.shards)} shards for {count} processes", "one for each")
    left_out = _LeftOut()
    specs = [stream.element_spec(name) for name in fields]
    signature = (*[tf.TensorSpec((), tf.string)] * stream.width, tf.TensorSpec((), tf.int64))

    def records(number):
        empty = True
        for record in _records(stream, (seed, int(number)), shuffle, index, count, limit, left_out):
            empty = False
            yield record
        if empty and endless:  # or it would look for one for ever
            raise ValueError(f"No example in {len(stream.shards)} shards is of this split.")

    def of_pass(number):
        return tf.data.Dataset.from_generator(records, args=(number,), output_signature=signature)

    def decode(*record):
        *record, draw = record
        try:
            example = stream.decoded(record, fields, int(draw))
        except ValueError as error:
            left_out.add(error)
            return [np.bool_(False), *(_nothing(spec) for spec in specs)]
        if flip and is_flipped(int(draw)):
            turned = {n: example[n][:, ::-1].copy() for n in example if n != "captions"}
            example = {**example, **turned}
        return [np.bool_(True), *(np.asarray(example[name]) for name in fields)]

    def to_tensors(*record):
        dtypes = [tf.bool, *(spec.dtype for spec in specs)]
        good, *values = tf.numpy_function(decode, record, dtypes)
        example = {
            stream.names.get(name, name): tf.ensure_shape(value, spec.shape)
            for name, value, spec in zip(fields, values, specs, strict=True)
        }
        return tf.ensure_shape(good, ()), example

    passes = pass_numbers(shuffle, seed, 0 if endless else None)
    dataset = passes.flat_map(of_pass).map(to_tensors, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.filter(lambda good, _: good).map(lambda _, example: example)


def _records(stream, seed, shuffle, index, count, limit, left_out):
    """The records of one pass, each with a draw of 32 bits."""
    if limit is not None:
        limit = (limit + count - 1 - index) // count
    generator = np.random.default_rng(seed if shuffle else seed[0])
    shards = list(stream.shards)
    if shuffle and limit is None:  # with a limit each pass has the same records
        shards = [shards[number] for number in generator.permutation(len(shards))]
    waiting, size, given = [], 0, 0
    for record in _of_shards(stream, shards[index::count], left_out):
        if given + len(waiting) == limit:
            break
        waiting.append(record)
        if shuffle:
            size += sum(map(len, record))
            room = len(waiting) < _FEWEST or (size < _SHUFFLED_BYTES and len(waiting) < _MOST)
            if room:
                continue
            chosen = int(generator.integers(len(waiting)))
            waiting[chosen], waiting[-1] = waiting[-1], waiting[chosen]
        record, given = waiting.pop(), given + 1
        size -= sum(map(len, record))
        yield *record, int(generator.integers(2**32))
    for number in generator.permutation(len(waiting)):
        yield *waiting[number], int(generator.integers(2**32))


def _of_shards(stream, shards, left_out):
    for shard in shards:
        try:
            yield from stream.records(shard)
        except (ValueError, OSError) as error:
            left_out.add(f"the rest of {shown_name(shard)}: {error}")


def _nothing(spec):
    """In place of what cannot be decoded."""
    kind = spec.dtype.as_numpy_dtype
    return np.asarray(b"") if kind is object else np.zeros(spec.shape, kind)


class _LeftOut:
    """Says once what is left out."""

    def __init__(self):
        self.warned = False

    def add(self, what):
        if not self.warned:
            self.warned = True
            warnings.warn(f"Left out: {what} More like it are not named.", stacklevel=2)

"""From examples that can be read by number to a `tf.data.Dataset` of batches."""

import numpy as np

from keras_regvq.backend.parts_of_batches import marked_as_part
from keras_regvq.backend.processes import process_index_and_count
from keras_regvq.checks.arguments import refuse
from keras_regvq.data.order import endless_passes, one_pass, tensorflow
from keras_regvq.data.own_part import own_examples, own_size

FIELDS = ("images", "labels", "captions")

# Of so many bytes, and at most so many examples, each call into Python reads: one by one, threads
# wait for each other half of the time.
_TOGETHER_BYTES, _TOGETHER = 2**23, 8
_CACHE_LIMIT = 2**30  # bytes: what fits below this is kept in memory unless `cache` says otherwise


def example_dataset(
    examples, fields, shuffle, seed, cache, flip=False, batch_size=None, from_step=None
):
    """Reads `examples` into a `tf.data.Dataset` of dicts of single examples.

    Args:
        examples: Has `len`, `size` (height, width), `channels`, and `read(index, fields)`, a dict
            of "images" uint8 (height, width, channels), "labels" int32 (height, width) and
            "captions", a tuple of strings of which each pass draws one. `parallel` says that
            threads read faster than one: true of what decodes files, not of what runs in Python.
        fields: Names of the fields to read.
        shuffle: Whether each pass has its own order (numbers are shuffled, so memory is no limit).
        seed: Integer >= 0, for the order and the choice of captions.
        cache: Whether what was read stays in memory; None: if that takes less than 1 GiB.
        flip: Whether half of the examples, drawn as captions are, are mirrored left to right.
        batch_size: of the batches that are to be made; of several processes, each reads its part of
            them. None: not batched.
        from_step: None: one pass. Else passes without end, from what comes first in the batch of
            number `from_step` on.
    """
    tf = tensorflow()
    height, width = examples.size
    if should_cache(cache, len(examples), height, width, fields, examples.channels):
        examples = _Remembered(examples)
    kinds = {"images": tf.uint8, "labels": tf.int32, "captions": tf.string}
    shapes = {
        "images": (height, width, examples.channels),
        "labels": (height, width),
        "captions": (),
    }

    def read(index, draw):
        example = examples.read(int(index), fields)
        if "captions" in example:
            texts = example["captions"]
            example = {**example, "captions": texts[int(draw) % len(texts)].encode()}
        if flip and is_flipped(int(draw)):
            turned = {n: example[n][:, ::-1].copy() for n in example if n != "captions"}
            example = {**example, **turned}
        return [np.asarray(example[name]) for name in fields]

    def read_some(numbers, draws):
        rows = [read(*pair) for pair in zip(numbers, draws, strict=True)]
        return [np.stack(values) for values in zip(*rows, strict=True)]

    def to_tensors(numbers, draws):
        values = tf.numpy_function(read_some, [numbers, draws], [kinds[name] for name in fields])
        return {
            name: tf.ensure_shape(value, (None, *shapes[name]))
            for name, value in zip(fields, values, strict=True)
        }

    if from_step is None:
        order = one_pass(len(examples), shuffle, seed)
        order = own_examples(order, len(examples), batch_size)
    else:
        batch_size = min(batch_size, len(examples))
        order = endless_passes(len(examples), batch_size, shuffle, seed, from_step)
        order = own_examples(order, len(examples), batch_size, endless=True)
    workers = tf.data.AUTOTUNE if examples.parallel else None
    size = max(1, bytes_of_example(height, width, fields, examples.channels))
    together = max(1, min(_TOGETHER, batch_size or _TOGETHER, _TOGETHER_BYTES // size))
    some = order.batch(together).map(to_tensors, num_parallel_calls=workers)
    return some.unbatch().apply(tf.data.experimental.assert_cardinality(order.cardinality()))


def drops_remainder(drop_remainder, count, batch_size, for_training):
    """Whether a smaller last batch of `count` examples, None if not known, is left out.

    `drop_remainder` None drops it for training, where equal shapes keep a compiled step from being
    compiled again, unless that would leave nothing.

    Raises:
        ValueError: if True would leave nothing.
    """
    if drop_remainder is None:
        return for_training and (count is None or count >= batch_size)
    if drop_remainder and count is not None and count < batch_size:
        refuse("batch_size", f"{batch_size} with drop_remainder=True", f"at most {count}")
    return drop_remainder


def batch_dataset(dataset, count, batch_size, drop_remainder, for_training):
    """Batches `dataset` of `count` examples, or leaves single examples if `batch_size` is None.

    Both numbers are of all processes that train together, of which each has its own part here.
    `count` is None if it is not known. `drop_remainder` is as in `drops_remainder`.
    """
    tf = tensorflow()
    if batch_size is not None:
        drop_remainder = drops_remainder(drop_remainder, count, batch_size, for_training)
        if not drop_remainder and count is not None:
            own_size(count % batch_size, f"the last batch, of {count % batch_size},")
        dataset = dataset.batch(own_size(batch_size), drop_remainder=drop_remainder)
    dataset = dataset.prefetch(tf.data.AUTOTUNE)
    return dataset if process_index_and_count()[1] == 1 else marked_as_part(dataset)


def map_texts(dataset, field, function, dtype, shape):
    """Turns a field of strings into arrays, batch by batch, in Python: for every backend.

    Args:
        dataset: of dicts.
        field: its name; what is no field of strings is left as it is.
        function: maps a NumPy array of B bytes to an array (B, *shape) of `dtype`.
    """
    tf = tensorflow()
    spec = dataset.element_spec
    if not isinstance(spec, dict) or field not in spec or spec[field].dtype != tf.string:
        return dataset

    def mapped(batch):
        values = tf.numpy_function(function, [batch[field]], dtype)
        return {**batch, field: tf.ensure_shape(values, (None, *shape))}

    return dataset.map(mapped).prefetch(1)


def is_flipped(draw):
    """Whether a draw of 32 bits flips its example: the highest bit, least used by captions."""
    return (draw >> 31) & 1 == 1


def should_cache(cache, count, height, width, fields, channels=3):
    if cache is not None:
        return cache
    return count * bytes_of_example(height, width, fields, channels) < _CACHE_LIMIT


def bytes_of_example(height, width, fields, channels=3):
    return height * width * (channels * ("images" in fields) + 4 * ("labels" in fields))


class _Remembered:
    """Examples that are read once and kept."""

    def __init__(self, examples):
        self.parallel, self.channels = examples.parallel, examples.channels
        self._examples, self._kept = examples, {}

    def __len__(self):
        return len(self._examples)

    def read(self, index, fields):
        if index not in self._kept:
            self._kept[index] = self._examples.read(index, fields)
        return self._kept[index]

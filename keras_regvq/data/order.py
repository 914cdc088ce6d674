"""The order in which examples are read: a function of the seed and the step, so that runs go on."""

import itertools

import numpy as np


def tensorflow():
    """Imports TensorFlow, which tf.data is a part of, only when a dataset is made."""
    import tensorflow as tf

    return tf


def order_of_pass(count, shuffle, seed, number):
    """The order of one pass over `count` examples, and a random number for each.

    Args:
        shuffle: Whether the order and the numbers differ from pass to pass.
        seed: Integer >= 0.
        number: Of the pass, an integer >= 0.

    Returns:
        int64 (count, 2): the examples' numbers, and draws of 32 bits for whatever is chosen at
        random for an example, such as one of its captions.
    """
    generator = np.random.default_rng((seed, int(number) if shuffle else 0))
    numbers = generator.permutation(count) if shuffle else np.arange(count)
    return np.stack([numbers, generator.integers(0, 2**32, count)], axis=1)


def one_pass(count, shuffle, seed):
    """A `tf.data.Dataset` of (number, draw); each iteration over it is another pass."""
    return _orders(pass_numbers(shuffle, seed), lambda n: order_of_pass(count, shuffle, seed, n))


def endless_passes(count, batch_size, shuffle, seed, from_step=0):
    """A `tf.data.Dataset` of (number, draw) for pass after pass, to be batched by `batch_size`.

    Each pass leaves its smaller last batch out. What is before `from_step`, the first batch, is
    left out of the numbers, so that nothing is read only to be skipped.
    """
    tf = tensorflow()
    steps = count // batch_size
    first, skipped = divmod(from_step, steps)

    def order(number):
        start = skipped * batch_size if number == first else 0
        return order_of_pass(count, shuffle, seed, number)[start : steps * batch_size]

    dataset = _orders(pass_numbers(shuffle, seed, first), order)
    return dataset.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def pass_numbers(shuffle, seed, first=None):
    """A `tf.data.Dataset` of int64: `first` and all numbers after it; None: one drawn number."""
    tf = tensorflow()
    if first is not None:
        return tf.data.Dataset.range(first, 2**62)
    passes = itertools.count() if shuffle else itertools.repeat(0)

    def numbers():  # not tf.data's own, which depend on TensorFlow's global seed, too
        yield int(np.random.default_rng((seed, next(passes))).integers(2**62))

    return tf.data.Dataset.from_generator(numbers, output_signature=tf.TensorSpec((), tf.int64))


def array_batches(arrays, batch_size, seed, from_step=0):
    """Shuffled batches of arrays without end, from the batch of number `from_step` on.

    Args:
        arrays: Dict of arrays of equal length, which stay in memory as they are.
        batch_size: Examples a batch; of fewer examples each batch holds all.
        seed: Integer >= 0, for the order.

    Returns:
        A `tf.data.Dataset` of dicts.
    """
    tf = tensorflow()
    tensors = {name: tf.constant(array) for name, array in arrays.items()}
    count = len(next(iter(arrays.values())))
    batch_size = min(batch_size, count)
    order = endless_passes(count, batch_size, True, seed, from_step)
    numbers = order.map(lambda number, draw: number).batch(batch_size, drop_remainder=True)
    batches = numbers.map(lambda n: {name: tf.gather(t, n) for name, t in tensors.items()})
    return batches.prefetch(2)


def _orders(passes, order):
    tf = tensorflow()

    def of_pass(number):
        rows = tf.numpy_function(order, [number], tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(rows, (None, 2)))

    return passes.flat_map(of_pass).map(lambda row: (row[0], row[1]))

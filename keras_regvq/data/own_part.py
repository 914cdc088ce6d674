"""What one of several processes that train together reads: its part of every batch, and no more."""

from keras_regvq.backend.processes import process_index_and_count
from keras_regvq.checks.arguments import refuse
from keras_regvq.data.order import tensorflow


def own_examples(dataset, count, batch_size, endless=False):
    """Of examples in the order of their batches, those of this process's part of each batch.

    The parts of all processes, side by side, are the batches that one process would be given. Of a
    smaller last batch the parts are smaller, and what cannot be divided is nobody's.

    Args:
        dataset: a `tf.data.Dataset`, before anything is read or decoded.
        count: of its examples.
        batch_size: of all processes together; None: all examples are one batch, to be divided.
        endless: whether passes of whole batches follow each other.

    Returns:
        A `tf.data.Dataset` of known cardinality.

    Raises:
        ValueError: for batches that cannot be divided.
    """
    tf = tensorflow()
    index, processes = process_index_and_count()
    if processes == 1:
        cardinality = tf.data.INFINITE_CARDINALITY if endless else count
        return dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    batch_size = min(batch_size or count, count)
    whole = count // batch_size * batch_size
    length, last = own_size(batch_size), 0 if endless else (count - whole) // processes

    def is_own(position, _):
        place = tf.where(position < whole, position % batch_size // length, -1)
        if last:
            place = tf.where(position < whole, place, (position - whole) // last)
        return place == index

    if endless:
        whole = 2**62
    own = dataset.enumerate().filter(is_own).map(lambda _, example: example)
    cardinality = tf.data.INFINITE_CARDINALITY if endless else whole // processes + last
    return own.apply(tf.data.experimental.assert_cardinality(cardinality))


def own_size(size, batch=None):
    """This process's share of a batch, or of a pass, of `size` examples; None of None.

    Args:
        batch: how to call it in the error.

    Raises:
        ValueError: where it cannot be divided.
    """
    processes = process_index_and_count()[1]
    if size is not None and size % processes:
        expected = f"a multiple of {processes}: drop_remainder=True, or another num_examples"
        received = f"{batch or f'a batch of {size}'} for {processes} processes"
        refuse("batch_size", received, expected)
    return size if size is None else size // processes

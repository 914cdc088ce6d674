"""TensorFlow's and PyTorch's data sets, looked at while Keras reads them; on any backend."""

import sys

import keras
import numpy as np


def is_dataset(data):
    """Whether data are a tf.data set or a strategy's distributed one, TensorFlow being loaded."""
    return "tensorflow" in sys.modules and hasattr(data, "element_spec")


def is_data_loader(data):
    """Whether data are a PyTorch DataLoader, PyTorch being loaded."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(data, torch.utils.data.DataLoader)


def dataset_with_look(dataset, select, look):
    """A tf.data set of `select(batch)`, of which each is shown to `look` before it is fed.

    Args:
        dataset: of batches.
        select: maps a batch of tensors to an array or a dict of arrays.
        look: is called with the same in NumPy, and may raise.
    """
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def selected(*parts):
        inputs = select(parts if len(parts) > 1 else parts[0])

        def looked(*values):
            look(tf.nest.pack_sequence_as(inputs, values))
            return True

        seen = tf.numpy_function(looked, tf.nest.flatten(inputs), tf.bool)
        with tf.control_dependencies([seen]):
            return tf.nest.map_structure(tf.identity, inputs)

    # In parallel and ahead of the device, so that no step waits for it; in the same order.
    return dataset.map(selected, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def number_of_batches(data):
    """How many batches data have, or None where that is not known."""
    try:
        if isinstance(data, keras.utils.PyDataset):
            return data.num_batches
        return max(int(data.cardinality()), -1) if is_dataset(data) else len(data)
    except (TypeError, NotImplementedError):
        return None


def dataset_of_parts(dataset, index, count):
    """A tf.data set of the part of number `index` of each batch; `count` equal parts make one."""
    import tensorflow as tf

    def part(values):
        length = tf.shape(values)[0] // count
        return values[index * length : (index + 1) * length]

    return dataset.map(lambda batch: tf.nest.map_structure(part, batch))


def data_loader_of(loader, function):
    """A DataLoader of `function(batch)`, each a tuple of tensors as Keras needs it.

    Args:
        loader: the DataLoader.
        function: gives an array, or a dict of arrays.
    """
    import torch

    class MappedLoader(torch.utils.data.DataLoader):
        def __init__(self):
            # Nothing of its own: workers and samplers are the loader's.
            self.__dict__.update(dataset=loader.dataset, batch_size=loader.batch_size)

        def __iter__(self):
            for batch in loader:
                yield (keras.tree.map_structure(torch.as_tensor, function(batch)),)

        def __len__(self):
            return len(loader)

    return MappedLoader()


def to_numpy(values):
    """Values of any backend, or a list, as a NumPy array."""
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "detach") and keras.backend.backend() != "torch":
        return values.detach().cpu().numpy()
    return keras.ops.convert_to_numpy(values) if hasattr(values, "dtype") else np.asarray(values)

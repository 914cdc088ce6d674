"""Whether a model is set up for the devices and processes that are to train it."""

import contextlib

import keras

from keras_regvq.backend.processes import process_index_and_count, started_processes

_BACKEND = keras.backend.backend()


def misplacement(model):
    """What is wrong with where a model is to be trained: (received, expected), or None."""
    distribution = keras.distribution.distribution()
    if _BACKEND == "tensorflow":
        import tensorflow as tf

        if distribution is not None:
            return _ignored(distribution), "tf.distribute.MirroredStrategy on TensorFlow"
        if tf.distribute.has_strategy():
            strategy = tf.distribute.get_strategy()
            if strategy is not model.distribute_strategy:
                received = f"one that was built outside of the {type(strategy).__name__}'s scope"
                return received, "one built and compiled within it"
    elif _BACKEND == "jax":
        if distribution is not None:
            devices = set(distribution.device_mesh.devices.ravel())
            missing = [v for v in model.variables if len(v.value.sharding.device_set) < len(devices)]
            if missing:
                received = f"one that was built before the {type(distribution).__name__} was set"
                return received, "one built after keras.distribution.set_distribution"
    elif distribution is not None:
        expected = "torchrun, and torch.distributed.init_process_group on PyTorch"
        return _ignored(distribution), expected
    elif process_index_and_count()[1] == 1 < started_processes():
        received = f"one of {started_processes()} processes that know nothing of each other"
        return received, "torch.distributed.init_process_group before it is trained"
    return None


def _ignored(distribution):
    return f"a keras.distribution.{type(distribution).__name__}, which this backend ignores"


@contextlib.contextmanager
def data_in_parts():
    """Within it Keras takes what a process is given as this process's part of each batch."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        yield
        return
    before, distribution.auto_shard_dataset = distribution.auto_shard_dataset, False
    try:
        yield
    finally:
        distribution.auto_shard_dataset = before

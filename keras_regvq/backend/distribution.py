"""The devices and processes that train a model, and whether it was built for them."""

import contextlib
import datetime
import os
import random

import keras

from keras_regvq.backend.processes import process_index_and_count, started_processes, told_by_all

_BACKEND = keras.backend.backend()
_DEAD_AFTER = 30  # seconds without a sign of life


@contextlib.contextmanager
def data_parallel(devices="auto"):
    """Within it models are built for, and trained on, all devices that there are.

    TensorFlow: the GPUs of this process, by `tf.distribute.MirroredStrategy`. JAX: its devices, by
    `keras.distribution.DataParallel`; those of all processes, if KERAS_DISTRIBUTION_JOB_ADDRESSES,
    KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID say which there are, or where
    `jax.distributed` has been initialized. PyTorch: the processes that torchrun has started, each
    with its GPU. With one device nothing changes.

    Args:
        devices: "auto", all; or "none": this process works alone.

    Yields:
        how many replicas a batch is divided among.

    Example:
        ```python
        with keras_regvq.training.data_parallel() as replicas:
            tokenizer = keras_regvq.from_preset("regvq_patch4_256")
            trainer = keras_regvq.training.TokenizerTrainer(tokenizer)
            trainer.compile("adam")
            trainer.fit(keras_regvq.data.from_arrays(images, batch_size=4))
        ```
    """
    if devices not in ("auto", "none"):
        raise ValueError(
            f"Argument `devices` is wrong. Received: {devices!r}. Expected: 'auto' or 'none'."
        )
    with _alone() if devices == "none" else _ALL[_BACKEND]() as replicas:
        yield replicas


_chose_to_be_alone = False


@contextlib.contextmanager
def _alone():
    global _chose_to_be_alone
    before, _chose_to_be_alone = _chose_to_be_alone, True
    try:
        yield 1
    finally:
        _chose_to_be_alone = before


@contextlib.contextmanager
def _tensorflow_devices():
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        yield 1
        return
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    with strategy.scope():
        yield len(devices)


@contextlib.contextmanager
def _jax_devices():
    import jax

    if "KERAS_DISTRIBUTION_JOB_ADDRESSES" in os.environ and not jax.distributed.is_initialized():
        _initialize_jax()
    if jax.device_count() == 1:
        yield 1
        return
    devices = [f"{device.platform}:{device.id}" for device in jax.devices()]
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    try:
        yield len(devices)
    finally:
        keras.distribution.set_distribution(before)


def _initialize_jax():
    """As `keras.distribution.initialize`, but a process that died is noticed within a minute."""
    import jax

    jax.distributed.initialize(
        os.environ["KERAS_DISTRIBUTION_JOB_ADDRESSES"].split(",")[0],
        int(os.environ["KERAS_DISTRIBUTION_NUM_PROCESSES"]),
        int(os.environ["KERAS_DISTRIBUTION_PROCESS_ID"]),
        heartbeat_timeout_seconds=_DEAD_AFTER,
    )
    seeds = told_by_all(random.getrandbits(31))
    if len(set(seeds)) > 1:  # nobody has set one
        keras.utils.set_random_seed(seeds[0])


@contextlib.contextmanager
def _torch_processes():
    import torch
    import torch.distributed as distributed

    if started_processes() == 1:
        yield 1
        return
    if distributed.is_initialized():
        yield distributed.get_world_size()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # One process may tokenize for hours while the others wait; a dead one is noticed at once.
    patience = datetime.timedelta(days=1)
    distributed.init_process_group(
        "nccl" if torch.cuda.is_available() else "gloo", timeout=patience
    )
    try:
        yield distributed.get_world_size()
    finally:
        distributed.destroy_process_group()


_ALL = {"tensorflow": _tensorflow_devices, "jax": _jax_devices, "torch": _torch_processes}


def misplacement(model):
    """What is wrong with where a model is to be trained: (received, expected), or None."""
    distribution = keras.distribution.distribution()
    if _BACKEND == "tensorflow":
        import tensorflow as tf

        if distribution is not None:
            return _ignored(distribution), "tf.distribute.MirroredStrategy on TensorFlow"
        strategy = model.distribute_strategy
        if strategy.num_replicas_in_sync == 1:
            return None
        if not all(isinstance(v.value, tf.distribute.DistributedValues) for v in model.variables):
            received = f"one that was built outside of the {type(strategy).__name__}'s scope"
            return received, "one built and compiled within it"
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None and "apply" not in vars(optimizer):
            received = f"one that was compiled outside of the {type(strategy).__name__}'s scope"
            return received, "one built and compiled within it"
    elif _BACKEND == "jax":
        if distribution is not None:
            devices = set(distribution.device_mesh.devices.ravel())
            missing = [
                v for v in model.variables if len(v.value.sharding.device_set) < len(devices)
            ]
            if missing:
                received = f"one that was built before the {type(distribution).__name__} was set"
                return received, "one built after keras.distribution.set_distribution"
    elif distribution is not None:
        expected = "torchrun, and torch.distributed.init_process_group on PyTorch"
        return _ignored(distribution), expected
    elif process_index_and_count()[1] == 1 < started_processes() and not _chose_to_be_alone:
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

"""Which of the processes that train together this one is, and what they tell each other.

What is told here, all processes have to tell at the same place of their programs.
"""

import contextlib
import os

import numpy as np

_alone = False


def process_index_and_count():
    """(index, count): (0, 1) unless JAX or torch.distributed has been told of others."""
    if _alone:
        return 0, 1
    import keras  # whoever only reads data may do so without

    if keras.backend.backend() == "torch":
        import torch.distributed as distributed

        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
    if keras.backend.backend() == "jax":
        import jax

        return jax.process_index(), jax.process_count()
    return 0, 1


@contextlib.contextmanager
def alone():
    """Within it this process works as if there were no others, and reads all of its data."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def is_first_process():
    """Whether this is the one that writes files; so is a process that trains alone."""
    return process_index_and_count()[0] == 0


def told_by_all(number):
    """The integers, below 2^31, that the processes tell: a list of one a process."""
    import keras

    if process_index_and_count()[1] == 1:
        return [number]
    if keras.backend.backend() == "torch":
        import torch.distributed as distributed

        numbers = [None] * distributed.get_world_size()
        distributed.all_gather_object(numbers, number)
        return numbers
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(np.asarray([number], np.int32)).ravel().tolist()


def wait_for_all():
    """Return when all processes have come here."""
    told_by_all(0)


@contextlib.contextmanager
def in_turns():
    """The first process does what is within it, and then the others do.

    On JAX all do it at once: what one process computes there, the others have to compute too.
    """
    import keras

    if keras.backend.backend() == "jax":
        yield
        return
    first = is_first_process()
    if not first:
        wait_for_all()
    yield
    if first:
        wait_for_all()


def started_processes():
    """How many processes torchrun has started, whether or not they know of each other."""
    return int(os.environ.get("WORLD_SIZE", "1"))

"""Replicas of a model that train side by side, each on its part of every batch.

The loss of a step is the mean of the replicas' losses, and its gradient the mean of their
gradients. Whatever else of a step is made of a whole batch asks for `mean_over_replicas`,
`sums_over_replicas` or `take_over_replicas`. On JAX one program computes with all of a batch, on
whatever devices, and there is nothing to do.
"""

import contextlib
import types
import weakref

import keras
from keras import ops

from keras_regvq.backend.processes import process_index_and_count

_BACKEND = keras.backend.backend()


def replica_count():
    """How many replicas work on a batch: of TensorFlow's strategy, or PyTorch's processes."""
    if _BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync
    return process_index_and_count()[1] if _BACKEND == "torch" else 1


def replica_index():
    """Which of them computes this, an integer, or one that TensorFlow's graph will know."""
    if _BACKEND == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        return 0 if context is None else context.replica_id_in_sync_group
    return process_index_and_count()[0] if _BACKEND == "torch" else 0


def replicas_in_process(model):
    """Among how many replicas Keras divides each batch that a model is given in this process."""
    if _BACKEND == "tensorflow":
        return model.distribute_strategy.num_replicas_in_sync
    distribution = keras.distribution.distribution()
    if _BACKEND == "jax" and distribution is not None:
        return max(distribution.num_model_replicas // process_index_and_count()[1], 1)
    return 1


def divided_loss(loss):
    """A replica's loss as Keras takes it: on TensorFlow as its share of a sum over the replicas."""
    count = replica_count() if _BACKEND == "tensorflow" else 1
    return loss / count if count > 1 else loss


def mean_over_replicas(x):
    """The mean of a tensor over the replicas, for a tensor that is a mean over a part of a batch.

    The gradient is that of the own part, which the mean of all gradients makes the whole one.
    """
    count = replicas_at_work()
    return x if count == 1 else x + ops.stop_gradient(_sums([x], count)[0] - x)


def replicas_at_work():
    """How many replicas compute this side by side: 1 where one calls a layer by itself."""
    count = replica_count()
    return count if count > 1 and _all_compute_this() else 1


def sums_over_replicas(tensors):
    """The sum of each tensor over the replicas, to the last bit the same in all. No gradient flows.

    On TensorFlow outside of branches and loops, where replicas cannot wait for each other.
    """
    tensors = [ops.stop_gradient(tensor) for tensor in tensors]
    return tensors if replicas_at_work() == 1 else _sums(tensors)


def take_over_replicas(rows, numbers):
    """Rows of the whole batch, by their numbers; each replica has the next P of them.

    Args:
        rows: this replica's, (P, d), of as many in each.
        numbers: integers (n,) below P times the number of replicas, the same in all.

    Returns:
        (n, d), the same in all. No gradient flows.
    """
    rows = ops.stop_gradient(rows)
    if replicas_at_work() == 1:
        return ops.take(rows, numbers, axis=0)
    count = ops.shape(rows)[0]
    places = numbers - replica_index() * count
    own = ops.logical_and(places >= 0, places < count)
    taken = ops.take(rows, ops.clip(places, 0, count - 1), axis=0)
    return _sums([ops.where(own[:, None], taken, ops.zeros_like(taken))])[0]


_together = False


@contextlib.contextmanager
def together():
    """Around a loop over data that all of PyTorch's processes run: what is within it may wait."""
    global _together
    before, _together = _together, True
    try:
        yield
    finally:
        _together = before


def _all_compute_this():
    """Whether each replica is at the same place, or one calls a layer by itself."""
    if _BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.distribute.get_replica_context() is not None
    return _together


def average_gradients(optimizer):
    """Let a Keras optimizer apply the replicas' mean gradient, before it clips or accumulates.

    Keras sums gradients on TensorFlow only after each replica has clipped its own, and not at all
    on PyTorch.

    Args:
        optimizer: the outermost one of a model that is being compiled.
    """
    if replica_count() == 1 or "apply" in vars(optimizer):
        return
    apply, divisor = optimizer.apply, 1 if _BACKEND == "tensorflow" else replica_count()

    def apply_mean(self, grads, trainable_variables=None):
        known = [gradient for gradient in grads if gradient is not None]
        means = iter(_sums(known, divisor))
        return apply(
            [None if gradient is None else next(means) for gradient in grads], trainable_variables
        )

    optimizer.apply = types.MethodType(apply_mean, optimizer)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    for player in (optimizer, inner, *getattr(inner, "optimizers", ())):
        if _BACKEND == "tensorflow":  # they are sums already
            player._all_reduce_sum_gradients = lambda pairs: pairs


_shared = weakref.WeakSet()


def share_values(model):
    """Give all of PyTorch's processes the first one's weights, before they first train or evaluate.

    From then on they stay equal.
    """
    if _BACKEND != "torch" or replica_count() == 1 or model in _shared:
        return
    import torch.distributed as distributed

    _shared.add(model)
    for variable in model.variables:
        value = variable.value.detach().contiguous()
        distributed.broadcast(value, 0)
        variable.assign(value)


@contextlib.contextmanager
def sums_in(variables):
    """Within it the variables hold the sums over PyTorch's processes; afterwards their own."""
    if _BACKEND != "torch" or replica_count() == 1:
        yield
        return
    own = [variable.value.detach().clone() for variable in variables]
    for variable, total in zip(variables, _sums(own), strict=True):
        variable.assign(total)
    try:
        yield
    finally:
        for variable, value in zip(variables, own, strict=True):
            variable.assign(value)


def _sums(tensors, divisor=1):
    """Of each tensor the sum over the replicas, divided; all have as many of the same shapes."""
    if _BACKEND == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        sums = context.all_reduce(tf.distribute.ReduceOp.SUM, list(tensors))
        # Gradients of embeddings know no division.
        return sums if divisor == 1 else [total / divisor for total in sums]
    import torch
    import torch.distributed as distributed

    # All of a dtype at once: a message costs more than what is in it.
    totals = [None] * len(tensors)
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        places = [place for place, tensor in enumerate(tensors) if tensor.dtype == dtype]
        parts = [tensors[place].detach() for place in places]
        flat = torch.cat([part.reshape(-1) for part in parts])
        distributed.all_reduce(flat)
        sizes = [part.numel() for part in parts]
        for place, part, total in zip(places, parts, flat.split(sizes), strict=True):
            total = total.reshape(part.shape)
            totals[place] = total if divisor == 1 else total / divisor
    return totals

"""Gradients of tensors that are no variables."""

import keras

_BACKEND = keras.backend.backend()

if _BACKEND == "tensorflow":
    import tensorflow as tf

    def losses_and_gradient(function, x):
        x = tf.stop_gradient(x)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            losses = function(x)
            total = sum(losses.values())
        gradient = tape.gradient(total, x)
        return {name: tf.stop_gradient(loss) for name, loss in losses.items()}, gradient

elif _BACKEND == "jax":
    import jax

    def losses_and_gradient(function, x):
        def total(x):
            losses = function(x)
            return sum(losses.values()), losses

        (_, losses), gradient = jax.value_and_grad(total, has_aux=True)(jax.lax.stop_gradient(x))
        return losses, gradient

elif _BACKEND == "torch":
    import torch

    def losses_and_gradient(function, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            losses = function(x)
            (gradient,) = torch.autograd.grad(sum(losses.values()), x)
        return {name: loss.detach() for name, loss in losses.items()}, gradient

else:
    raise ImportError(
        "keras_regvq trains on the backends 'tensorflow', 'jax' and 'torch'. "
        f"Received: KERAS_BACKEND={_BACKEND!r}"
    )

losses_and_gradient.__doc__ = """Named losses of one tensor, and the gradient of their sum.

With respect to the tensor `x`, never to variables; the results are cut off from the graph.

Args:
    function: maps a tensor to a dict of scalars.
    x: float tensor.

Returns:
    (dict of scalars, tensor of x's shape).
"""

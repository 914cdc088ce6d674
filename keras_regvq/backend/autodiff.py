"""Gradients of tensors, and convolutions as each backend likes them."""

import keras

from keras_regvq.backend.layer_tree import all_layers

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

    def convolve_without_copies(model):
        pass

elif _BACKEND == "jax":
    import jax

    def losses_and_gradient(function, x):
        def total(x):
            losses = function(x)
            return sum(losses.values()), losses

        (_, losses), gradient = jax.value_and_grad(total, has_aux=True)(jax.lax.stop_gradient(x))
        return losses, gradient

    def convolve_without_copies(model):
        pass

elif _BACKEND == "torch":
    import functools

    import torch

    def losses_and_gradient(function, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            losses = function(x)
            (gradient,) = torch.autograd.grad(sum(losses.values()), x)
        return {name: loss.detach() for name, loss in losses.items()}, gradient

    def convolve_without_copies(model):
        for layer in all_layers(model):
            if type(layer) is keras.layers.Conv2D and layer.data_format == "channels_last":
                layer.convolution_op = functools.partial(
                    _convolution, layer, KernelInPyTorchsLayout()
                )

    class KernelInPyTorchsLayout:
        """(H, W, in, out) as PyTorch has it; a frozen one is kept until it is written to."""

        def __init__(self):
            self._source = self._version = self._laid_out = None

        def __call__(self, kernel):
            known = kernel is self._source and kernel._version == self._version
            if known and not kernel.requires_grad:
                return self._laid_out
            laid_out = kernel.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
            if not kernel.requires_grad:
                self._source, self._version, self._laid_out = kernel, kernel._version, laid_out
            return laid_out

    def _convolution(layer, laid_out, inputs, kernel):
        # In PyTorch's layout once, and not again in the backward pass.
        kernel = laid_out(keras.ops.convert_to_tensor(kernel))
        outputs = keras.ops.conv(
            inputs.permute(0, 3, 1, 2),
            kernel.permute(2, 3, 1, 0),
            strides=layer.strides,
            padding=layer.padding,
            dilation_rate=layer.dilation_rate,
            data_format="channels_first",
        )
        return outputs.permute(0, 2, 3, 1)

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

convolve_without_copies.__doc__ = """Spare the 2D convolutions of a model copies of their kernels.

PyTorch convolves (B, H, W, C) as a permuted view, which it calls channels last, by a kernel of that
layout. Keras lays the kernel out at each call, and its backward pass again. Here it is done once a
call, and of a frozen kernel once. Values, weights and configurations stay the same; other backends
have nothing to spare.

Args:
    model: a built keras.Model; changed in place, with all that is inside it.
"""

"""Convolutions as PyTorch is fastest at.

PyTorch convolves (B, H, W, C) as a permuted view, which it calls channels last, by a kernel of that
layout. Keras lays the kernel out at each call, its backward pass again, and adds the bias apart.
Here a kernel is laid out once a call, a frozen one once and for all, all of them once while samples
are drawn, and the bias goes with the convolution.
"""

import contextlib
import contextvars
import functools

import torch
from keras import ops


def make_fast(layer):
    """Change what a Conv2D layer calls."""
    if "call" not in vars(layer):
        layer.call = functools.partial(_convolve, layer, KernelInPyTorchsLayout())


_LAID_OUT = contextvars.ContextVar("laid_out", default=None)


@contextlib.contextmanager
def fixed_weights():
    """Within it no weight changes: each kernel is laid out once, and let go in the end."""
    token = _LAID_OUT.set({})
    try:
        yield
    finally:
        _LAID_OUT.reset(token)


class KernelInPyTorchsLayout:
    """(H, W, in, out) as PyTorch has it; a frozen one is kept until it is written to."""

    def __init__(self):
        self._kept = {}

    def __call__(self, kernel):
        differentiated = kernel.requires_grad and torch.is_grad_enabled()
        if differentiated or kernel.is_inference():  # there a tensor has no version
            return _laid_out(kernel)
        kept = _LAID_OUT.get() if kernel.requires_grad else self._kept
        if kept is None:
            return _laid_out(kernel)
        source, version, laid_out = kept.get(self, (None, None, None))
        if source is not kernel or version != kernel._version:
            laid_out = _laid_out(kernel)
            kept[self] = kernel, kernel._version, laid_out
        return laid_out


def _laid_out(kernel):
    return kernel.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)


def _convolve(layer, laid_out, inputs):
    kernel = laid_out(ops.convert_to_tensor(layer.kernel))
    bias = ops.convert_to_tensor(layer.bias) if layer.use_bias else None
    inputs = inputs.permute(0, 3, 1, 2)
    margins = _even_margins(layer)
    if margins is None:
        outputs = ops.conv(
            inputs,
            kernel.permute(2, 3, 1, 0),
            strides=layer.strides,
            padding=layer.padding,
            dilation_rate=layer.dilation_rate,
            data_format="channels_first",
        )
        outputs = outputs if bias is None else outputs + bias[:, None, None]
    else:
        outputs = torch.nn.functional.conv2d(
            inputs, kernel, bias, layer.strides, margins, layer.dilation_rate, layer.groups
        )
    outputs = outputs.permute(0, 2, 3, 1)
    return outputs if layer.activation is None else layer.activation(outputs)


def _even_margins(layer):
    """How many zeros go around the input, where that is as many on each side; else None."""
    if layer.padding == "valid":
        return 0
    margins = [d * (k - 1) for d, k in zip(layer.dilation_rate, layer.kernel_size, strict=True)]
    if layer.strides != (1, 1) or any(margin % 2 for margin in margins):
        return None
    return [margin // 2 for margin in margins]

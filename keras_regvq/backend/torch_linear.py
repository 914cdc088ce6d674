"""Dense and EinsumDense as one product of matrices, which adds the bias too.

Keras adds the bias in a pass of its own, and `torch.einsum` copies what it multiplies.
"""

import functools
import math

import keras
import torch
from keras import ops


def make_fast(layer):
    """Change what a Dense or EinsumDense layer calls, if it is such a product."""
    axes = 1 if type(layer) is keras.layers.Dense else contracted_axes(layer.equation)
    if axes and "call" not in vars(layer):
        layer.call = functools.partial(_multiply, layer, axes)


def contracted_axes(equation):
    """How many last axes of the inputs are the first of the kernel; 0 for another equation.

    "abc,cde->abde" gives 1 and "abde,dec->abc" 2.
    """
    inputs, kernel, outputs = equation.replace("->", ",").split(",")
    for axes in range(1, len(kernel)):
        rows = inputs[:-axes]
        if inputs.endswith(kernel[:axes]) and rows + kernel[axes:] == outputs:
            return 0 if set(rows) & set(kernel) else axes
    return 0


def _multiply(layer, axes, inputs, training=None):
    kernel = ops.convert_to_tensor(layer.kernel)
    bias = None if layer.bias is None else ops.convert_to_tensor(layer.bias)
    shape = *inputs.shape[: inputs.ndim - axes], *kernel.shape[axes:]
    matrix = kernel.reshape(math.prod(kernel.shape[:axes]), -1)
    shared_bias = bias is not None and bias.numel() != matrix.shape[1]
    if shared_bias or inputs.dtype != kernel.dtype:
        return type(layer).call(layer, inputs)
    rows = inputs.reshape(-1, matrix.shape[0])
    product = rows @ matrix if bias is None else torch.addmm(bias.reshape(-1), rows, matrix)
    outputs = product.reshape(shape)
    return outputs if layer.activation is None else layer.activation(outputs)

"""3 x 3 convolutions in bfloat16 on a processor's matrix units, for JAX.

XLA computes such a convolution in float32 on a CPU, at no gain over float32. Its products of
matrices, however, use the matrix units if they may sum up in float32, and run at four times the
speed. So the convolution is written as one: the three columns of a kernel side by side in the
channels of the input, and its three rows side by side in those of the output, which are then
shifted and added. The gradient of the input is another such convolution; that of the kernel is left
to XLA, since a product over all positions is slower than its own.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import keras
from jax import lax
from keras import ops

# Above this a product's operands no longer fit the processor's caches.
MOST_POSITIONS = 8192
LEAST_CHANNELS = 64  # with fewer, laying out takes longer than the product saves
MOST_PIECES = 16  # each is compiled


def has_matrix_units():
    """Whether JAX computes on a CPU that multiplies matrices of bfloat16."""
    try:
        return jax.default_backend() == "cpu" and "amx_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return False


def make_fast(layer):
    """Change what a Conv2D layer calls, if it may gain."""
    plain = layer.kernel_size == (3, 3) and layer.strides == layer.dilation_rate == (1, 1)
    if plain and layer.padding == "same" and layer.groups == 1 and has_matrix_units():
        layer.convolution_op = functools.partial(_convolution, layer)


def _convolution(layer, inputs, kernel):
    kernel = ops.convert_to_tensor(kernel)
    if _gains(inputs, kernel):
        return convolve_3x3(inputs, kernel)
    return keras.layers.Conv2D.convolution_op(layer, inputs, kernel)


def _gains(inputs, kernel):
    if not isinstance(inputs, jax.Array) or not inputs.dtype == kernel.dtype == jnp.bfloat16:
        return False
    if not all(isinstance(side, int) for side in inputs.shape):  # of an exported model
        return False
    images, rows = _piece(*inputs.shape[1:3])
    pieces = -(-inputs.shape[0] // images) * -(-inputs.shape[1] // rows)
    return min(kernel.shape[2:]) >= LEAST_CHANNELS and pieces <= MOST_PIECES


def _piece(height, width):
    """How many images, and how many rows of each, are convolved at once."""
    images = max(1, MOST_POSITIONS // (height * width))
    return images, max(1, min(height, MOST_POSITIONS // width))


@jax.custom_vjp
def convolve_3x3(inputs, kernel):
    """(B, h, w, C) with a kernel (3, 3, C, D), stride 1, zeros around it: (B, h, w, D)."""
    batch, height, width, _ = inputs.shape
    images, rows = _piece(height, width)
    padded = jnp.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)))
    parts = [
        jnp.concatenate(
            [
                _convolve(padded[start : start + images, top : top + rows + 2], kernel)
                for top in range(0, height, rows)
            ],
            axis=1,
        )
        for start in range(0, batch, images)
    ]
    return jnp.concatenate(parts)


def _convolve(padded, kernel):
    batch, height, width, channels = padded.shape
    height, width, filters = height - 2, width - 2, kernel.shape[-1]
    columns = jnp.concatenate([padded[:, :, x : x + width] for x in range(3)], axis=-1)
    matrix = jnp.transpose(kernel, (1, 2, 0, 3)).reshape(3 * channels, 3 * filters)
    sums = lax.dot(
        columns.reshape(-1, 3 * channels), matrix, preferred_element_type=jnp.float32
    ).reshape(batch, height + 2, width, 3, filters)
    return sum(sums[:, y : y + height, :, y] for y in range(3)).astype(padded.dtype)


def _forward(inputs, kernel):
    return convolve_3x3(inputs, kernel), (inputs, kernel)


def _backward(saved, upstream):
    inputs, kernel = saved
    turned = jnp.transpose(kernel[::-1, ::-1], (0, 1, 3, 2))

    def by_xla(kernel):
        return lax.conv_general_dilated(
            inputs, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    return convolve_3x3(upstream, turned), jax.vjp(by_xla, kernel)[1](upstream)[0]


convolve_3x3.defvjp(_forward, _backward)

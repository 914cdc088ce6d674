"""Layers of Keras's, computed the way that a backend is fastest at."""

import contextlib

import keras

from keras_regvq.backend.layer_tree import all_layers

_BACKEND = keras.backend.backend()

if _BACKEND == "torch":
    from keras_regvq.backend import torch_linear
    from keras_regvq.backend.torch_convolution import fixed_weights, make_fast
else:
    fixed_weights = contextlib.nullcontext  # what compiles a loop lays out kernels before it

if _BACKEND == "jax":
    from keras_regvq.backend.bfloat16_convolution import make_fast
    from keras_regvq.backend.freed_memory import compute_where_it_is_kept

    compute_where_it_is_kept()
elif _BACKEND == "tensorflow":

    def make_fast(layer):
        pass


def use_fast_layers(model):
    """Have the convolutions and products of a model computed the way its backend is fastest at.

    Values, gradients, weights and configurations stay the same, up to rounding. TensorFlow has
    nothing to gain; what the others do is in `torch_convolution`, `torch_linear` and
    `bfloat16_convolution`.

    Args:
        model: a built keras.Model; changed in place, with all that is inside it.
    """
    for layer in all_layers(model):
        if type(layer) is keras.layers.Conv2D and layer.data_format == "channels_last":
            make_fast(layer)
        elif _BACKEND == "torch" and type(layer) in (keras.layers.Dense, keras.layers.EinsumDense):
            torch_linear.make_fast(layer)

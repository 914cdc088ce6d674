"""Which layers of a model are quantized, so that a preset can hold them, and their kernels."""

import math

import keras
from keras import ops

from keras_regvq.backend.layer_tree import all_layers
from keras_regvq.checks.arguments import refuse

MODES = ("int8", "int4")


def quantized_layers(model):
    """What config.json says of it: {mode: indices of the layers}, in the order that Keras has them.

    Raises:
        ValueError: for a mode that does not come back from weights alone.
    """
    found = {}
    for index, layer in enumerate(all_layers(model)):
        mode = getattr(layer, "quantization_mode", None)
        if mode is not None:
            if mode not in MODES:
                refuse("model", f"{layer.name!r} quantized as {mode}", f"one of {', '.join(MODES)}")
            settings = getattr(layer, "quantization_config", None)
            if settings is not None and settings.get_config() != _default(mode).get_config():
                expected = f"{mode} with Keras's own settings"
                refuse("model", f"{layer.name!r} quantized with other settings", expected)
            found.setdefault(mode, []).append(index)
    return found


def _default(mode):
    kinds = {
        "int8": keras.quantizers.Int8QuantizationConfig,
        "int4": keras.quantizers.Int4QuantizationConfig,
    }
    return kinds[mode]()


def quantize_again(model, found):
    """Quantize the layers of a new model that were quantized in the saved one."""
    layers = all_layers(model)
    for mode, indices in (found or {}).items():
        if mode not in MODES:
            refuse("quantization", repr(mode), f"one of {', '.join(MODES)}")
        chosen = {id(layers[index]) for index in indices}
        model.quantize(mode, filters=lambda layer, chosen=chosen: id(layer) in chosen)


def kernel_of(dense, inputs_shape):
    """The kernel (inputs, outputs) of a dense layer, of a quantized one with its scales.

    Args:
        dense: a built Dense or EinsumDense. Quantized, `dense.kernel` is integers, and Keras has no
            public function for what they stand for: it is what the layer makes of unit vectors.
        inputs_shape: of one of its inputs, such as (D,) or (heads, D / heads).
    """
    size = math.prod(inputs_shape)
    if getattr(dense, "quantization_mode", None) is None:
        return ops.reshape(dense.kernel, (size, -1))
    activation, dense.activation = dense.activation, None
    try:
        kernel = dense(ops.reshape(ops.eye(size), (1, size, *inputs_shape)))
    finally:
        dense.activation = activation
    if dense.bias is not None:
        kernel = kernel - ops.cast(dense.bias, kernel.dtype)
    return ops.reshape(kernel, (size, -1))

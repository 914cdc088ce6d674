"""Which layers of a model are quantized, so that a preset can hold them."""

from keras_regvq.validation import refuse

MODES = ("int8", "int4")


def quantized_layers(model):
    """What config.json says of it: {mode: indices of the layers}, in the order that Keras has them.

    Raises:
        ValueError: for a mode that does not come back from weights alone.
    """
    found = {}
    for index, layer in enumerate(model._flatten_layers()):
        mode = getattr(layer, "quantization_mode", None)
        if mode is not None:
            if mode not in MODES:
                refuse("model", f"{layer.name!r} quantized as {mode}", f"one of {', '.join(MODES)}")
            found.setdefault(mode, []).append(index)
    return found


def quantize_again(model, found):
    """Quantize the layers of a new model that were quantized in the saved one."""
    layers = model._flatten_layers()
    for mode, indices in (found or {}).items():
        if mode not in MODES:
            refuse("quantization", repr(mode), f"one of {', '.join(MODES)}")
        chosen = {id(layers[index]) for index in indices}
        model.quantize(mode, filters=lambda layer, chosen=chosen: id(layer) in chosen)

"""A tokenizer's two halves as graphs that other programs run: images to tokens, and back."""

from pathlib import Path

import keras
from keras import layers, ops

from keras_regvq.backend.layer_tree import all_layers
from keras_regvq.backend.onnx_packages import missing_onnx_packages
from keras_regvq.checks.arguments import check_choice, check_positive_integer
from keras_regvq.files.updating import updating_directory

SUFFIXES = {"onnx": ".onnx", "tf_saved_model": ""}


def export_tokenizer(tokenizer, directory, format="onnx", batch_size=1):
    """Write an ImageTokenizer's `encode` and `decode` without Keras, in float32.

    Args:
        tokenizer: the ImageTokenizer.
        directory: made if missing; both graphs in it are replaced as one, other files stay.
        format: "onnx" or "tf_saved_model", which PyTorch cannot write.
        batch_size: images at once; None for any number, which PyTorch cannot write. Images have
            the tokenizer's `image_size`.

    Returns:
        the two paths, "encode" and "decode": a graph of images, float32 (B, H, W, 3) in [0, 1], to
        tokens, int32 (B, h, w) or (B, h, w, q), and one back.

    Raises:
        ValueError: for an unknown format.
        ImportError: without the packages of the format: those of the extra "onnx".
        OSError: naming the directory, such as for a full disk; what was there stays.
    """
    check_choice("format", format, tuple(SUFFIXES))
    if batch_size is not None:
        check_positive_integer("batch_size", batch_size)
    # Without them Keras fails in another way on each backend.
    missing = missing_onnx_packages() if format == "onnx" else []
    if missing:
        needed = 'the packages of the extra "onnx": pip install "keras_regvq[onnx]"'
        raise ImportError(f"export(format='onnx') needs {needed}. Missing: {', '.join(missing)}.")
    files = {name: name + SUFFIXES[format] for name in ("encode", "decode")}
    with updating_directory(directory, files.values()) as part:
        for name, model in _graphs(_in_float32(tokenizer), batch_size).items():
            _write(model, part / files[name], format)
    return {name: Path(directory) / file for name, file in files.items()}


def _graphs(tokenizer, batch_size):
    shape = (*tokenizer.image_size, tokenizer.image_channels)
    images = keras.Input(shape, batch_size, dtype="float32", name="images")
    features = tokenizer.features(images)
    tokens = keras.Input(tokenizer.token_grid, batch_size, dtype="int32", name="tokens")
    decoded = tokenizer.decoder(_Lookup(tokenizer.quantizer)(tokens))["images"]
    return {
        "encode": keras.Model(images, _Encode(tokenizer.quantizer)(features)),
        "decode": keras.Model(tokens, ops.clip((decoded + 1.0) / 2.0, 0.0, 1.0)),
    }


def _in_float32(tokenizer):
    """The tokenizer itself if all of it computes in float32, else a copy that does.

    Other programs do not read the operations of bfloat16, and few those of float16.
    """
    layers_ = all_layers(tokenizer)
    if all(layer.compute_dtype == layer.variable_dtype == "float32" for layer in layers_):
        return tokenizer
    copy = type(tokenizer).from_config({**tokenizer.get_config(), "dtype": "float32"})
    for variable, original in zip(copy.weights, tokenizer.weights, strict=True):
        # Through NumPy: on JAX, variables that share a value lose it together.
        variable.assign(ops.convert_to_numpy(original).astype("float32"))
    return copy


def _write(model, path, format):
    signature = [keras.InputSpec(shape=x.shape, dtype=x.dtype, name=x.name) for x in model.inputs]
    model.export(str(path), format=format, verbose=False, input_signature=signature)


class _Encode(layers.Layer):
    """Features (B, h, w, C) -> tokens int32 (B, *grid)."""

    def __init__(self, quantizer):
        super().__init__(dtype="float32")
        self.quantizer = quantizer

    def call(self, features):
        return self.quantizer.exported_tokens(features)


class _Lookup(layers.Layer):
    """Tokens int32 (B, *grid) -> embeddings (B, h, w, d)."""

    def __init__(self, quantizer):
        super().__init__(dtype="float32")
        self.quantizer = quantizer

    def call(self, tokens):
        return self.quantizer.embed(tokens)

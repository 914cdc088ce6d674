"""A tokenizer's two halves as graphs that other programs run: images to tokens, and back."""

from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from keras_regvq.validation import check_choice, check_positive_integer

SUFFIXES = {"onnx": ".onnx", "tf_saved_model": ""}


def export_tokenizer(tokenizer, directory, format="onnx", batch_size=1):
    """Write an ImageTokenizer's `encode` and `decode` without Keras.

    Args:
        tokenizer: the ImageTokenizer.
        directory: made if missing.
        format: "onnx" or "tf_saved_model", which PyTorch cannot write.
        batch_size: images at once; None for any number, which PyTorch cannot write. Images have
            the tokenizer's `image_size`.

    Returns:
        the two paths, "encode" and "decode": a graph of images, float32 (B, H, W, 3) in [0, 1], to
        tokens, int32 (B, h, w), and one back.

    Raises:
        ValueError: for an unknown format.
        ImportError: without the packages of the format (onnx: onnx, and onnxscript with PyTorch,
            tf2onnx with TensorFlow, jax2onnx with JAX).
    """
    check_choice("format", format, tuple(SUFFIXES))
    if batch_size is not None:
        check_positive_integer("batch_size", batch_size)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    images = keras.Input(
        (*tokenizer.image_size, tokenizer.image_channels),
        batch_size,
        dtype="float32",
        name="images",
    )
    features = tokenizer.encoder(images * 2.0 - 1.0)
    tokens = keras.Input(tokenizer.token_grid, batch_size, dtype="int32", name="tokens")
    decoded = tokenizer.decoder(_Lookup(tokenizer.quantizer)(tokens))["images"]
    graphs = {
        "encode": keras.Model(images, _BestTokens(tokenizer.quantizer)(features)),
        "decode": keras.Model(tokens, ops.clip((decoded + 1.0) / 2.0, 0.0, 1.0)),
    }
    paths = {name: directory / (name + SUFFIXES[format]) for name in graphs}
    for name, model in graphs.items():
        signature = [
            keras.InputSpec(shape=x.shape, dtype=x.dtype, name=x.name) for x in model.inputs
        ]
        model.export(str(paths[name]), format=format, verbose=False, input_signature=signature)
    return paths


class _BestTokens(layers.Layer):
    """Features (B, h, w, C) -> tokens int32 (B, h, w).

    As `Quantizer.best_tokens`, but at once, and as the first score that is the largest: other
    programs cannot read the loop over a large codebook, nor Keras's `argmax` or `top_k`.
    """

    def __init__(self, quantizer):
        super().__init__(dtype="float32")
        self.quantizer = quantizer

    def call(self, features):
        kernel, bias = self.quantizer.scores()
        scores = ops.matmul(features, kernel) + bias
        largest = scores == ops.max(scores, axis=-1, keepdims=True)
        codes = ops.convert_to_tensor(np.arange(self.quantizer.codebook_size, dtype="int32"))
        return ops.min(ops.where(largest, codes, self.quantizer.codebook_size), axis=-1)


class _Lookup(layers.Layer):
    """Tokens int32 (B, h, w) -> embeddings (B, h, w, d)."""

    def __init__(self, quantizer):
        super().__init__(dtype="float32")
        self.quantizer = quantizer

    def call(self, tokens):
        return ops.take(self.quantizer.codes(), tokens, axis=0)

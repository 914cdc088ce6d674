"""Exported tokenizers run in onnxruntime and as SavedModels, and give what Keras gives."""

import keras
import numpy as np
import onnxruntime
import pytest

from keras_regvq import quantizers
from keras_regvq.backend import onnx_packages
from keras_regvq.models import ImageTokenizer
from tests.models.priors.tiny_prior import randomize

BACKEND = keras.backend.backend()
QUANTIZERS = {
    "regvq": lambda: quantizers.RegularizedQuantizer(20, 6),
    # Codes of unit length, and more of them than encode works on at once.
    "large": lambda: quantizers.VectorQuantizer(50, 6, normalize=True, block_size=16),
}


def make_tokenizer(name, dtype=None):
    tokenizer = ImageTokenizer(
        (8, 12), QUANTIZERS[name](), base_channels=8, channel_multipliers=(1, 1),
        num_res_blocks=1, attention_resolutions=(4,), latent_channels=8, dtype=dtype,
    )  # fmt: skip
    return randomize(tokenizer)


def run(paths, images, tokens):
    """What onnxruntime makes of images and of tokens."""
    for part, value in (("encode", images), ("decode", tokens)):
        session = onnxruntime.InferenceSession(paths[part], providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        (result,) = session.run(None, {given.name: value})
        yield result


def test_onnx_files_give_the_same_tokens_and_images_and_replace_older_ones(tmp_path, rng):
    tokenizer = make_tokenizer("regvq")
    for name in ("encode.onnx", "decode.onnx", "notes.txt"):
        (tmp_path / name).write_text("old")
    paths = tokenizer.export(tmp_path, batch_size=2)
    images = rng.random((2, 8, 12, 3), dtype="float32")
    tokens = tokenizer.encode(images)
    assert len(np.unique(tokens)) > 3
    encoded, decoded = run(paths, images, tokens)
    np.testing.assert_array_equal(encoded, tokens)
    np.testing.assert_allclose(decoded, tokenizer.decode(tokens), atol=1e-4)
    assert {path.name for path in tmp_path.iterdir()} == {"decode.onnx", "encode.onnx", "notes.txt"}
    assert (tmp_path / "notes.txt").read_text() == "old"


@pytest.mark.seldom
@pytest.mark.one_backend
@pytest.mark.parametrize(
    "name, policy, of_all",
    [
        ("regvq", "bfloat16", False),
        ("large", "float16", False),
        ("regvq", "mixed_bfloat16", True),
        ("regvq", "bfloat16", True),
    ],
)
def test_other_precisions_are_exported_as_float32_of_the_same_weights(
    tmp_path, rng, name, policy, of_all
):
    exact = make_tokenizer(name, "float32")
    if of_all:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
    try:
        tokenizer = make_tokenizer(name, None if of_all else policy)
        for rough, fine in zip(tokenizer.weights, exact.weights, strict=True):
            rough.assign(keras.ops.cast(keras.ops.convert_to_numpy(fine), rough.dtype))
            fine.assign(keras.ops.convert_to_numpy(rough).astype("float32"))
        paths = tokenizer.export(tmp_path, batch_size=2)
    finally:
        if of_all:
            keras.config.set_dtype_policy(before)
    images = rng.random((2, 8, 12, 3), dtype="float32")
    tokens = exact.encode(images)
    encoded, decoded = run(paths, images, tokens)
    np.testing.assert_array_equal(encoded, tokens)
    np.testing.assert_allclose(decoded, exact.decode(tokens), atol=1e-4)
    assert decoded.dtype == "float32"
    assert tokenizer.encoder.layers[1].compute_dtype == policy.removeprefix("mixed_")


PACKAGES = {"torch": ("onnx", "onnxscript"), "tensorflow": ("tf2onnx",), "jax": ("jax2onnx",)}


@pytest.mark.parametrize("package", PACKAGES[BACKEND])
def test_without_the_packages_the_extra_is_named(tmp_path, monkeypatch, package):
    monkeypatch.setattr(onnx_packages, "is_missing", lambda name: name == package)
    with pytest.raises(ImportError, match=rf'"keras_regvq\[onnx\]".*Missing: {package}\.'):
        make_tokenizer("regvq").export(tmp_path / "served")
    assert not (tmp_path / "served").exists()


@pytest.mark.skipif(BACKEND == "torch", reason="Keras writes no SavedModel from PyTorch")
def test_saved_models_take_any_number_of_images(tmp_path, rng):
    import tensorflow as tf

    tokenizer = make_tokenizer("regvq")
    paths = tokenizer.export(tmp_path, "tf_saved_model", batch_size=None)
    images = rng.random((3, 8, 12, 3), dtype="float32")
    tokens = tokenizer.encode(images)
    served = {name: tf.saved_model.load(str(path)) for name, path in paths.items()}
    np.testing.assert_array_equal(served["encode"].serve(images), tokens)
    decoded = served["decode"].serve(tokens)
    np.testing.assert_allclose(decoded, tokenizer.decode(tokens), atol=1e-4)


def test_unknown_formats_are_named(tmp_path):
    tokenizer = make_tokenizer("regvq")
    with pytest.raises(ValueError, match="format.*'pickle'.*'onnx'"):
        tokenizer.export(tmp_path, "pickle")
    with pytest.raises(ValueError, match="batch_size"):
        tokenizer.export(tmp_path, batch_size=0)

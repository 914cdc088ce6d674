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
        (16, 24), QUANTIZERS[name](), base_channels=8, channel_multipliers=(1, 2),
        num_res_blocks=1, attention_resolutions=(8,), latent_channels=8, dtype=dtype,
    )  # fmt: skip
    return randomize(tokenizer)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_onnx_files_give_the_same_tokens_and_images(tmp_path, rng, name):
    tokenizer = make_tokenizer(name)
    paths = tokenizer.export(tmp_path / "served", batch_size=2)
    images = rng.random((2, 16, 24, 3), dtype="float32")
    results = {}
    for part, value in (("encode", images), ("decode", tokenizer.encode(images))):
        session = onnxruntime.InferenceSession(paths[part], providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        (results[part],) = session.run(None, {given.name: value})
    tokens = tokenizer.encode(images)
    assert len(np.unique(tokens)) > 3
    np.testing.assert_array_equal(results["encode"], tokens)
    np.testing.assert_allclose(results["decode"], tokenizer.decode(tokens), atol=1e-4)


@pytest.mark.parametrize(
    "policy, of_all",
    [("bfloat16", False), ("float16", False), ("mixed_bfloat16", True), ("bfloat16", True)],
)
def test_other_precisions_are_exported_as_float32_of_the_same_weights(
    tmp_path, rng, policy, of_all
):
    exact = make_tokenizer("regvq", "float32")
    if of_all:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
    try:
        tokenizer = make_tokenizer("regvq", None if of_all else policy)
        for rough, fine in zip(tokenizer.weights, exact.weights, strict=True):
            rough.assign(keras.ops.cast(keras.ops.convert_to_numpy(fine), rough.dtype))
            fine.assign(keras.ops.convert_to_numpy(rough).astype("float32"))
        paths = tokenizer.export(tmp_path, batch_size=2)
    finally:
        if of_all:
            keras.config.set_dtype_policy(before)
    images = rng.random((2, 16, 24, 3), dtype="float32")
    tokens = exact.encode(images)
    for part, given, expected in (
        ("encode", images, tokens),
        ("decode", tokens, exact.decode(tokens)),
    ):
        session = onnxruntime.InferenceSession(paths[part], providers=["CPUExecutionProvider"])
        (result,) = session.run(None, {session.get_inputs()[0].name: given})
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result, expected, atol=1e-4)
    assert tokenizer.encoder.layers[1].compute_dtype == policy.removeprefix("mixed_")


def test_a_second_export_replaces_both_graphs_and_nothing_else(tmp_path):
    tokenizer = make_tokenizer("regvq")
    (tmp_path / "notes.txt").write_text("mine")
    for _ in range(2):
        tokenizer.export(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "decode.onnx", "encode.onnx", "notes.txt",
    ]  # fmt: skip


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
    images = rng.random((3, 16, 24, 3), dtype="float32")
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

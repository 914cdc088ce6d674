"""Exported tokenizers run in onnxruntime and as SavedModels, and give what Keras gives."""

import keras
import numpy as np
import onnxruntime
import pytest

from keras_regvq import quantizers
from keras_regvq.models import ImageTokenizer
from tests.models.tiny_prior import randomize

BACKEND = keras.backend.backend()
QUANTIZERS = {
    "regvq": lambda: quantizers.RegularizedQuantizer(20, 6),
    # Codes of unit length, and more of them than encode works on at once.
    "large": lambda: quantizers.VectorQuantizer(50, 6, normalize=True, block_size=16),
}


def make_tokenizer(name):
    tokenizer = ImageTokenizer(
        (16, 24), QUANTIZERS[name](), base_channels=8, channel_multipliers=(1, 2),
        num_res_blocks=1, attention_resolutions=(8,), latent_channels=8,
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

"""Models that are called directly scale uint8 images, as their own methods do."""

import keras
import numpy as np
import pytest

from keras_regvq.models import (
    EfficientNetLite0Features,
    FIDInception,
    ImageTokenizer,
    LPIPSFeatures,
    PatchDiscriminator,
    VGG19Features,
)
from keras_regvq.quantizers import VectorQuantizer

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype="uint8")


@pytest.fixture(scope="module")
def tokenizer():
    return ImageTokenizer(32, VectorQuantizer(32, 8), 8, (1, 2), 1, (), 8)


def test_a_tokenizer_gives_the_tokens_of_encode(tokenizer):
    expected = tokenizer.encode(IMAGES)
    assert len(np.unique(expected)) > 4
    called = {
        "call": tokenizer(IMAGES)["tokens"],
        "call of a tensor": tokenizer(keras.ops.convert_to_tensor(IMAGES))["tokens"],
        "call of a dict": tokenizer({"images": keras.ops.convert_to_tensor(IMAGES)})["tokens"],
        "predict": tokenizer.predict(IMAGES, verbose=0)["tokens"],
        "predict_on_batch": tokenizer.predict_on_batch(IMAGES)["tokens"],
        "floats": tokenizer(IMAGES / np.float32(255))["tokens"],
    }
    for name, tokens in called.items():
        tokens = keras.ops.convert_to_numpy(tokens)
        np.testing.assert_array_equal(tokens, expected, err_msg=name)


def test_a_tokenizer_inside_another_model_scales_too(tokenizer):
    inputs = keras.Input((32, 32, 3), dtype="uint8")
    model = keras.Model(inputs, tokenizer(inputs)["tokens"])
    np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), tokenizer.encode(IMAGES))


@pytest.mark.parametrize("images", [IMAGES.astype("float32"), IMAGES / 127.5 - 1.0])
def test_a_tokenizer_refuses_what_encode_refuses(images, tokenizer):
    for use in (tokenizer, tokenizer.predict, tokenizer.encode):
        with pytest.raises(ValueError, match=r"float values from .*Expected: .*\[0, 1\]"):
            use(images)
    with pytest.raises(ValueError, match="`images`.*int32"):
        tokenizer(IMAGES.astype("int32"))


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "make",
    [
        lambda: PatchDiscriminator(4, 1),
        lambda: VGG19Features(None, ("block1_conv2",), seed=0),
        lambda: EfficientNetLite0Features(None, ("block_0",), seed=0),
        lambda: LPIPSFeatures(seed=0),
        lambda: FIDInception(),
    ],
)
def test_networks_scale_too(make):
    network = make()
    pairs = zip(
        keras.tree.flatten(network(IMAGES)),
        keras.tree.flatten(network(IMAGES / np.float32(255))),
        strict=True,
    )
    for of_integers, of_floats in pairs:
        a, b = (keras.ops.convert_to_numpy(x) for x in (of_integers, of_floats))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)

"""Codes are chosen in float32: distances and logits in half precision pick other codes."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_regvq.quantizers import RegularizedQuantizer, VectorQuantizer
from tests.gradients import layer_outputs

POLICIES = ["mixed_bfloat16", "mixed_float16"]


@pytest.fixture
def many_codes(rng):
    """1,024 codes, 1,024 positions: the two nearest codes are often close."""

    def make(quantizer):
        layer = quantizer(1024, 16)
        layer.build((None, None, None, 16))
        for variable in layer.trainable_variables:
            variable.assign(rng.normal(size=variable.shape).astype("float32"))
        return layer

    return make


def scores_of(layer):
    """(kernel, bias) whose argmax is the nearest code or the largest logit, in float64."""
    if isinstance(layer, VectorQuantizer):
        codebook = ops.convert_to_numpy(layer.codebook.value).astype("float64")
        return 2 * codebook.T, -np.square(codebook).sum(-1)
    kernel, bias = layer.kernel.value, layer.bias.value
    return tuple(ops.convert_to_numpy(v).astype("float64") for v in (kernel, bias))


class Tokens(keras.layers.Layer):
    """Uses a quantizer's methods inside the call of a half-precision layer."""

    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer

    def build(self, input_shape):
        self.built = True

    def call(self, features):
        tokens = self.quantizer.best_tokens(features)
        return tokens, self.quantizer.embed(tokens)


@pytest.mark.parametrize("dtype_policy", POLICIES)
@pytest.mark.parametrize("quantizer", [VectorQuantizer, RegularizedQuantizer])
def test_half_precision_features_get_the_codes_of_a_float32_computation(
    quantizer, dtype_policy, many_codes, rng, policy
):
    policy(dtype_policy)
    half = keras.config.dtype_policy().compute_dtype
    layer = many_codes(quantizer)
    features = ops.cast(rng.normal(size=(4, 16, 16, 16)).astype("float32"), half)
    rounded = ops.convert_to_numpy(ops.cast(features, "float32"))
    kernel, bias = scores_of(layer)
    expected = (rounded @ kernel + bias).argmax(-1)

    half_kernel, half_bias = ops.cast(kernel, half), ops.cast(bias, half)
    in_half = ops.argmax(ops.matmul(features, half_kernel) + half_bias, axis=-1)
    assert (ops.convert_to_numpy(in_half) != expected).any(), "too easy: half precision would do"

    outputs = layer_outputs(layer, features)
    np.testing.assert_array_equal(outputs["tokens"], expected)
    for value in (outputs["embeddings"], outputs["perturbation"], *outputs["losses"].values()):
        assert value.dtype == "float32"

    inside = Tokens(layer)
    inside.build(features.shape)
    tokens, embeddings = layer_outputs(inside, features)
    np.testing.assert_array_equal(tokens, expected)
    codebook = ops.convert_to_numpy(layer.codebook.value)
    np.testing.assert_array_equal(embeddings, codebook[expected])


def test_a_dtype_given_to_the_layer_does_not_lower_its_precision(many_codes):
    layer = RegularizedQuantizer(8, 4, dtype="bfloat16")
    layer.build((None, None, None, 4))
    assert layer.compute_dtype == "float32"
    assert {v.dtype for v in layer.trainable_variables} == {"float32"}


@pytest.mark.parametrize("quantizer", [VectorQuantizer, RegularizedQuantizer])
def test_codes_that_differ_in_the_last_bits_are_told_apart(quantizer, rng):
    """1,000 +- 0.001: equal in half precision, and equal distances in bfloat16."""
    layer = quantizer(2, 1)
    layer.build((None, None, None, 1))
    if quantizer is VectorQuantizer:
        layer.codebook.assign([[1.0], [1.0 + 2**-10]])
        features = np.where(rng.uniform(size=(1, 4, 4, 1)) < 0.5, 1.0, 1.0 + 2**-10)
        expected = features[..., 0] > 1
    else:
        layer.kernel.assign([[1.0, 1.0 + 2**-10]])
        features = np.where(rng.uniform(size=(1, 4, 4, 1)) < 0.5, -1.0, 1.0)
        expected = features[..., 0] > 0
    tokens = layer_outputs(layer, features)["tokens"]
    np.testing.assert_array_equal(tokens, expected)

"""The perceptual loss against the PyTorch reference in float64."""

import numpy as np
import pytest
import torch
from keras import ops

from benchmarks.plain_torch import losses as plain
from keras_regvq.losses import perceptual_loss
from tests.gradients import assert_close, value_and_gradients

SHAPES = [(2, 4, 6, 3), (2, 2, 3, 5)]


@pytest.fixture
def layers(rng):
    """Post-ReLU features of two layers, of an image and of another."""
    return [[np.maximum(rng.normal(size=s), 0).astype("float32") for s in SHAPES] for _ in "ab"]


def test_value_and_gradients_equal_the_reference(layers):
    # An all-zero vector has no direction, and the reference no gradient there.
    original, reconstructed = ([features + 0.1 for features in half] for half in layers)

    def ours(*features):
        return perceptual_loss(features[:2], features[2:])

    tensors = [torch.tensor(f).double().permute(0, 3, 1, 2) for f in original + reconstructed]
    tensors = [tensor.requires_grad_() for tensor in tensors]
    expected = plain.perceptual_loss(tensors[:2], tensors[2:])
    value, gradients = value_and_gradients(ours, *original, *reconstructed)
    assert_close(value, expected.item())
    for gradient, pull in zip(gradients, torch.autograd.grad(expected, tensors), strict=True):
        assert_close(gradient, pull.permute(0, 2, 3, 1).numpy())


def test_it_sums_over_layers_and_averages_over_positions():
    same, opposite = np.ones((2, 3, 4, 1), "float32"), -np.ones((2, 3, 4, 1), "float32")
    assert_close(perceptual_loss([same], [opposite]), 4.0)
    assert_close(perceptual_loss([same, same], [opposite, opposite]), 8.0)
    half = np.concatenate([same, opposite], axis=1)
    assert_close(perceptual_loss([half], [np.ones_like(half)]), 2.0)


def test_the_length_of_a_feature_vector_does_not_count(layers):
    original, reconstructed = layers
    scaled = [7.0 * features for features in reconstructed]
    assert_close(perceptual_loss(original, scaled), float(perceptual_loss(original, reconstructed)))
    assert float(perceptual_loss(original, [3.0 * features for features in original])) < 1e-6


def test_zero_feature_vectors_give_finite_gradients(layers):
    original, reconstructed = layers
    original[0][:, 0] = reconstructed[0][:, :2] = 0.0

    def loss(*features):
        return perceptual_loss(features[:2], features[2:])

    value, gradients = value_and_gradients(loss, *original, *reconstructed)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_half_precision_features_are_compared_in_float32(layers):
    half = [[ops.cast(features, "bfloat16") for features in side] for side in layers]
    rounded = [[ops.cast(features, "float32") for features in side] for side in half]
    assert_close(perceptual_loss(*half), float(perceptual_loss(*rounded)))


def test_layers_that_do_not_match_are_refused(layers):
    original, reconstructed = layers
    for first, second in [
        (original, reconstructed[:1]),
        ([], []),
        (original, reconstructed[::-1]),
        (original, [features[:, :1] for features in reconstructed]),  # would broadcast
    ]:
        with pytest.raises(ValueError, match="`reconstructed_features`.*Received.*Expected"):
            perceptual_loss(first, second)

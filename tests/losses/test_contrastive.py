"""Contrastive losses against the PyTorch reference in float64."""

import numpy as np
import pytest
import torch
from keras import ops

from benchmarks.plain_torch import losses as plain
from keras_regvq.losses import contrastive_loss, probabilistic_contrastive_loss
from tests.gradients import assert_close, value_and_gradients

BATCH, LENGTH, CHANNELS = 3, 6, 8


@pytest.fixture
def pair(rng):
    """Features of an image and of a reconstruction that is near it."""
    original = rng.normal(size=(BATCH, LENGTH, CHANNELS))
    noise = rng.normal(size=original.shape)
    return original.astype("float32"), (original + 0.5 * noise).astype("float32")


def torch_value_and_gradients(function, *arrays):
    tensors = [torch.tensor(array).double().requires_grad_() for array in arrays]
    value = function(*tensors)
    return value.item(), [gradient.numpy() for gradient in torch.autograd.grad(value, tensors)]


def assert_equal_to_reference(ours, reference, *arrays):
    expected, expected_gradients = torch_value_and_gradients(reference, *arrays)
    value, gradients = value_and_gradients(ours, *arrays)
    assert_close(value, expected)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        assert np.abs(expected_gradient).max() > 1e-3
        assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_the_contrastive_loss_equals_the_reference(temperature, pair):
    assert_equal_to_reference(
        lambda y, z: contrastive_loss(y, z, temperature),
        lambda y, z: plain.contrastive_loss(y, z, temperature),
        *pair,
    )


def test_the_contrastive_loss_is_the_papers_formula(pair):
    y, z = (features / np.linalg.norm(features, axis=-1, keepdims=True) for features in pair)
    pulls = np.exp(np.einsum("bic,bjc->bij", y, z).astype("float64") / 0.07)
    expected = -np.log(np.einsum("bii->bi", pulls) / pulls.sum(-1)).mean()
    assert_close(contrastive_loss(*pair), expected)


def weight_kinds(kind, rng):
    weights = rng.uniform(0.1, 3.0, size=(BATCH, LENGTH)).astype("float32")
    if kind == "partly zero":
        weights[:, ::2] = 0.0
    if kind == "one image all zero":
        weights[1] = 0.0
    return weights


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize("kind", ["positive", "partly zero", "one image all zero"])
def test_the_probabilistic_loss_equals_the_reference(kind, temperature, pair, rng):
    weights = weight_kinds(kind, rng)
    assert_equal_to_reference(
        lambda y, z: probabilistic_contrastive_loss(
            y, z, ops.convert_to_tensor(weights), temperature
        ),
        lambda y, z: plain.probabilistic_contrastive_loss(
            y, z, torch.tensor(weights).double(), temperature
        ),
        *pair,
    )


def test_the_probabilistic_loss_is_the_papers_formula(pair, rng):
    weights = weight_kinds("partly zero", rng)
    y, z = (features / np.linalg.norm(features, axis=-1, keepdims=True) for features in pair)
    pulls = np.exp(np.einsum("bic,bjc->bij", y, z).astype("float64") / 0.07)
    own = np.einsum("bii->bi", pulls)
    share = weights / weights.sum(-1, keepdims=True)
    ratio = share * own / (share * own + (pulls.sum(-1) - own) / LENGTH)
    expected = -np.log(ratio[weights > 0]).sum() / (BATCH * LENGTH)
    assert_close(probabilistic_contrastive_loss(*pair, weights), expected)


def test_weights_that_are_all_zero_give_exactly_zero_and_a_zero_gradient(pair):
    weights = np.zeros((BATCH, LENGTH), "float32")
    value, gradients = value_and_gradients(probabilistic_contrastive_loss, *pair, weights)
    assert value == 0.0
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, 0.0)


def test_no_gradient_flows_through_the_weights(pair, rng):
    weights = weight_kinds("partly zero", rng)
    value, gradients = value_and_gradients(probabilistic_contrastive_loss, *pair, weights)
    assert value > 0 and gradients[1].any()
    np.testing.assert_array_equal(gradients[2], 0.0)


def test_only_the_weights_ratios_count(pair, rng):
    weights = weight_kinds("partly zero", rng)
    small, large = (
        probabilistic_contrastive_loss(*pair, (scale * weights).astype("float32"))
        for scale in (1e-6, 1e6)
    )
    assert_close(small, float(large))


def test_a_larger_perturbation_pulls_more_weakly():
    """All positions are alike but for their weights: d/d(y_i.z_i) shrinks as w_i grows.

    z_i = cos(a) y_i + sin(a) u, with orthonormal y_i and u: along y_i the gradient of z_i is
    that of its own term alone, times sin(a)^2 from the normalisation.
    """
    length, angle = 4, 0.9
    original = np.eye(length, length + 1)[None]
    reconstructed = np.cos(angle) * original
    reconstructed[..., -1] = np.sin(angle)
    weights = np.array([[1.0, 2.0, 4.0, 8.0]], "float32")

    def loss(reconstructed):
        fixed = ops.convert_to_tensor(original.astype("float32"))
        return probabilistic_contrastive_loss(
            fixed, reconstructed, ops.convert_to_tensor(weights), temperature=1.0
        )

    _, (gradient,) = value_and_gradients(loss, reconstructed)
    pulls = -np.einsum("ic,ic->i", gradient[0], original[0])
    assert (pulls > 0).all() and (np.diff(pulls) < 0).all()
    # -dL/ds_i = sigmoid(log sum_{j != i} e^{s_ij} / L - log w'_i - s_ii) / L, with s_ij = 0
    odds = (length - 1) / length / (weights[0] / weights.sum() * np.exp(np.cos(angle)))
    assert_close(pulls, odds / (1 + odds) / length * np.sin(angle) ** 2)


@pytest.mark.parametrize("loss", ["plain", "probabilistic"])
def test_a_single_position_has_no_negatives_and_no_loss(loss, rng):
    features = [rng.normal(size=(2, 1, 5)).astype("float32") for _ in range(2)]

    def function(original, reconstructed):
        if loss == "plain":
            return contrastive_loss(original, reconstructed)
        return probabilistic_contrastive_loss(original, reconstructed, ops.ones((2, 1)))

    value, gradients = value_and_gradients(function, *features)
    assert abs(value) < 1e-6
    for gradient in gradients:
        np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


def test_zero_feature_vectors_give_finite_gradients(pair):
    original, reconstructed = pair[0].copy(), pair[1].copy()
    original[:, 0] = reconstructed[:, 0] = reconstructed[:, 3] = 0.0
    weights = np.ones((BATCH, LENGTH), "float32")
    for function, arrays in [
        (contrastive_loss, (original, reconstructed)),
        (probabilistic_contrastive_loss, (original, reconstructed, weights)),
    ]:
        value, gradients = value_and_gradients(function, *arrays)
        assert np.isfinite(value)
        assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_half_precision_features_are_compared_in_float32(pair, rng):
    half = [ops.cast(features, "bfloat16") for features in pair]
    rounded = [ops.cast(features, "float32") for features in half]
    weights = weight_kinds("positive", rng)
    assert_close(contrastive_loss(*half), float(contrastive_loss(*rounded)))
    assert_close(
        probabilistic_contrastive_loss(*half, weights),
        float(probabilistic_contrastive_loss(*rounded, weights)),
    )


def test_wrong_shapes_and_temperatures_are_refused(pair):
    original, reconstructed = pair
    weights = np.ones((BATCH, LENGTH), "float32")

    def refuses(argument, received):
        return pytest.raises(ValueError, match=f"`{argument}`.*Received: .*{received}.*Expected")

    with refuses("reconstructed", r"\(3, 5, 8\)"):
        contrastive_loss(original, reconstructed[:, :5])
    with refuses("reconstructed", r"\(6, 8\)"):
        contrastive_loss(original[0], reconstructed[0])
    with refuses("weights", r"\(3, 5\)"):
        probabilistic_contrastive_loss(original, reconstructed, weights[:, :5])
    with refuses("weights", r"\(3, 6, 1\)"):
        probabilistic_contrastive_loss(original, reconstructed, weights[..., None])
    with refuses("reconstructed", r"\(3, 6, 7\)"):
        probabilistic_contrastive_loss(original, reconstructed[..., :7], weights)
    for temperature in (0, -1.0, float("nan")):
        with refuses("temperature", str(temperature)):
            contrastive_loss(original, reconstructed, temperature)

"""The plain-PyTorch peer's losses, against hand calculations and finite differences.

It is the reference of other tests, so nothing here may come from `keras_regvq`.
"""

import math

import numpy as np
import pytest

from tests.benchmarks.plain_numbers import randn

torch = pytest.importorskip("torch")

from benchmarks.plain_torch import losses  # noqa: E402


def contrastive_by_loops(original, reconstructed, weights, tau):
    """The two formulas, term by term; `weights` None is the plain loss."""
    total = 0.0
    batch, length, _ = original.shape
    for b in range(batch):
        y = original[b] / np.linalg.norm(original[b], axis=-1, keepdims=True)
        z = reconstructed[b] / np.linalg.norm(reconstructed[b], axis=-1, keepdims=True)
        for i in range(length):
            own = math.exp(y[i] @ z[i] / tau)
            others = sum(math.exp(y[i] @ z[j] / tau) for j in range(length) if j != i)
            if weights is not None:
                own, others = own * weights[b, i] / weights[b].sum(), others / length
            if own > 0:
                total -= math.log(own / (own + others)) / length
    return total / batch


@pytest.fixture
def pair_and_weights():
    weights = torch.rand(2, 6, dtype=torch.float64)
    weights[0, [1, 4]] = 0.0
    return randn(2, 6, 5), randn(2, 6, 5), weights


def test_contrastive_losses_match_the_formulas(pair_and_weights):
    original, reconstructed, weights = pair_and_weights
    arrays = original.numpy(), reconstructed.numpy()
    np.testing.assert_allclose(
        losses.contrastive_loss(original, reconstructed, 0.2).item(),
        contrastive_by_loops(*arrays, None, 0.2),
        rtol=1e-10,
    )
    np.testing.assert_allclose(
        losses.probabilistic_contrastive_loss(original, reconstructed, weights, 0.2).item(),
        contrastive_by_loops(*arrays, weights.numpy(), 0.2),
        rtol=1e-10,
    )


def test_probabilistic_contrastive_gradients_match_finite_differences(pair_and_weights):
    original, reconstructed, weights = pair_and_weights
    weights.requires_grad_()
    points = original.requires_grad_(), reconstructed.requires_grad_()
    loss = losses.probabilistic_contrastive_loss(*points, weights, 0.2)
    *gradients, to_weights = torch.autograd.grad(loss, (*points, weights), allow_unused=True)
    assert to_weights is None
    arrays = [point.detach().numpy() for point in points]
    step = 1e-6
    for which, gradient in enumerate(gradients):
        for index in np.ndindex(*gradient.shape):
            ends = []
            for sign in (1, -1):
                moved = [array.copy() for array in arrays]
                moved[which][index] += sign * step
                ends.append(contrastive_by_loops(*moved, weights.detach().numpy(), 0.2))
            slope = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(gradient[index].item(), slope, rtol=1e-5, atol=1e-8)


def test_all_zero_weights_give_a_zero_loss_and_finite_gradients(pair_and_weights):
    original, reconstructed, weights = pair_and_weights
    reconstructed.requires_grad_()
    for zeros in (torch.zeros_like(weights), weights * torch.tensor([[0.0], [1.0]])):
        loss = losses.probabilistic_contrastive_loss(original, reconstructed, zeros)
        (gradient,) = torch.autograd.grad(loss, reconstructed)
        assert torch.isfinite(loss) and torch.isfinite(gradient).all()
        assert not gradient[0].any()
        assert (loss == 0) == (not zeros.any())
    one = losses.probabilistic_contrastive_loss(
        original[:, :1], reconstructed[:, :1], torch.ones(2, 1)
    )
    assert one.item() == 0
    assert torch.isfinite(torch.autograd.grad(one, reconstructed)[0]).all()


def test_a_larger_perturbation_gets_a_weaker_pull():
    # Orthogonal unit vectors: every similarity is 0, and the gradient of y_0 along z_0 is
    # d loss / d(y_0 . z_0) = -1/L * negatives / (w'_0 + negatives), with negatives = 3/4.
    basis = torch.eye(8, dtype=torch.float64)[None]
    original, reconstructed = basis[:, 4:].clone().requires_grad_(), basis[:, :4]
    pulls = []
    for weight in (0.1, 1.0, 10.0):
        weights = torch.tensor([[weight, 1.0, 1.0, 1.0]])
        loss = losses.probabilistic_contrastive_loss(original, reconstructed, weights, 1.0)
        (gradient,) = torch.autograd.grad(loss, original)
        pulls.append(-gradient[0, 0, 0].item())
        np.testing.assert_allclose(
            pulls[-1], 0.25 * 0.75 / (weight / (weight + 3) + 0.75), rtol=1e-6
        )
    assert pulls[0] > pulls[1] > pulls[2] > 0


def test_perceptual_loss_is_a_sum_over_layers_of_unit_vector_distances():
    first = [randn(2, 3, 4, 4), randn(2, 5, 2, 2)]
    second = [randn(2, 3, 4, 4), randn(2, 5, 2, 2)]
    expected = 0.0
    for a, b in zip(first, second, strict=True):
        # |u - v|^2 = 2 - 2 cos for unit vectors
        expected += (2 - 2 * torch.cosine_similarity(a, b, dim=1)).mean().item()
    np.testing.assert_allclose(losses.perceptual_loss(first, second).item(), expected, rtol=1e-8)
    np.testing.assert_allclose(losses.perceptual_loss(first, first).item(), 0.0)


def test_hinge_losses_match_a_hand_calculation():
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-2.0, 0.0, 1.0])
    # real: 0, 0.5, 2; fake: 0, 1, 2
    assert losses.hinge_discriminator_loss(real, fake).item() == pytest.approx(
        0.5 * (2.5 / 3 + 1.0)
    )
    assert losses.hinge_generator_loss(fake + 1).item() == pytest.approx(-2 / 3)

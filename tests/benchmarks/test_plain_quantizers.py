"""The plain-PyTorch peer's quantizers, against hand calculations and PyTorch's functions.

It is the reference of other tests, so nothing here may come from `keras_regvq`.
"""

import math

import numpy as np
import pytest

from tests.benchmarks.plain_numbers import randn, softmax

torch = pytest.importorskip("torch")

from benchmarks.plain_torch.quantizers import (  # noqa: E402
    GumbelQuantizer,
    RegularizedQuantizer,
    VectorQuantizer,
    kl_to_uniform,
    straight_through,
)


def test_vector_quantizer_takes_the_nearest_code_and_weighs_the_commitment_term():
    quantizer = VectorQuantizer(7, 3, commitment_weight=0.25).double()
    features = randn(2, 3, 4, 5).requires_grad_()
    result = quantizer(features)
    codebook = quantizer.embedding.weight
    encoded = features.permute(0, 2, 3, 1)
    distances = (encoded[..., None, :] - codebook).square().sum(-1)
    assert torch.equal(result["tokens"], distances.argmin(-1))
    torch.testing.assert_close(
        result["embeddings"].permute(0, 2, 3, 1), codebook[result["tokens"]], rtol=0, atol=1e-12
    )
    difference = (encoded - codebook[result["tokens"]]).detach()
    terms = result["losses"]
    torch.testing.assert_close(terms["codebook"].detach(), difference.square().mean())
    torch.testing.assert_close(terms["commitment"].detach(), 0.25 * difference.square().mean())
    # Each term moves its own side only, and beta belongs to the encoder's.
    pulls = torch.autograd.grad(
        terms["commitment"], (features, codebook), retain_graph=True, allow_unused=True
    )
    expected = 0.25 * 2 * difference.permute(0, 3, 1, 2) / features.numel()
    torch.testing.assert_close(pulls[0], expected)
    assert pulls[1] is None
    assert torch.autograd.grad(
        terms["codebook"], features, retain_graph=True, allow_unused=True
    ) == (None,)
    # Straight-through: the encoder receives the decoder's gradient unchanged.
    upstream = randn(2, 3, 4, 5)
    (received,) = torch.autograd.grad(result["embeddings"], features, upstream)
    assert torch.equal(received, upstream)


def test_gumbel_quantizer_agrees_with_torch_gumbel_softmax():
    quantizer = GumbelQuantizer(6, 3, temperature=0.7).double()
    features = randn(2, 3, 2, 2).requires_grad_()
    upstream = randn(2, 3, 2, 2)
    torch.manual_seed(5)
    result = quantizer(features)
    (gradient,) = torch.autograd.grad(result["embeddings"], features, upstream)
    torch.manual_seed(5)
    logits = quantizer.proj(features).flatten(2).transpose(1, 2)
    one_hot = torch.nn.functional.gumbel_softmax(logits, tau=0.7, hard=True)
    expected = (one_hot @ quantizer.embed.weight).transpose(1, 2).reshape(2, 3, 2, 2)
    torch.testing.assert_close(result["embeddings"], expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, features, upstream)[0])
    q = softmax(logits.detach().numpy())
    kl = 5e-4 * np.mean(np.sum(q * np.log(q * 6), axis=-1))
    np.testing.assert_allclose(result["losses"]["kl"].item(), kl, rtol=1e-6)


@pytest.mark.parametrize("quantizer_class", [GumbelQuantizer, RegularizedQuantizer])
def test_inference_has_no_noise_and_no_mask(quantizer_class):
    quantizer = quantizer_class(6, 3).eval()
    features = torch.randn(2, 3, 4, 4)
    first, second = quantizer(features), quantizer(features)
    assert torch.equal(first["tokens"], quantizer.proj(features).argmax(1))
    assert torch.equal(first["embeddings"], second["embeddings"])
    assert not first["mask"].any() and not first["perturbation"].any()


@pytest.mark.parametrize("ratio, count", [(0.0, 0), (0.4, 10), (1.0, 24)])
def test_masks_have_an_exact_count_and_differ_between_images(ratio, count):
    result = RegularizedQuantizer(6, 3, mask_ratio=ratio)(torch.randn(8, 3, 4, 6))
    masks = result["mask"].flatten(1)
    assert masks.sum(dim=1).tolist() == [count] * 8
    assert len(set(map(tuple, masks.tolist()))) == (8 if 0 < count < 24 else 1)
    assert torch.equal(result["tokens"][~result["mask"]], result["best_tokens"][~result["mask"]])


def test_regularized_quantizer_value_and_gradients_follow_the_two_branches():
    batch, height, width, codes, dims, tau = 2, 2, 3, 5, 4, 0.6
    quantizer = RegularizedQuantizer(codes, dims, temperature=tau).double()
    logits = randn(batch, codes, height, width).requires_grad_()
    noise = 3 * randn(batch, height * width, codes)
    mask = torch.tensor([[[1, 0, 1], [0, 1, 0]], [[0, 1, 1], [1, 1, 1]]])
    result = quantizer.quantize_logits(logits, noise, mask)
    upstream = randn(batch, dims, height, width)
    gradients = torch.autograd.grad(
        result["embeddings"], (logits, quantizer.embed.weight), upstream
    )

    codebook = quantizer.embed.weight.detach().numpy()
    tokens = np.zeros((batch, height, width), int)
    logits_gradient = np.zeros((batch, codes, height, width))
    codebook_gradient = np.zeros_like(codebook)
    changed = 0
    for b, r, c in np.ndindex(batch, height, width):
        row = logits.detach().numpy()[b, :, r, c]
        best, temperature = row.argmax(), 1.0
        if mask[b, r, c]:
            row, temperature = row + noise.numpy()[b, r * width + c], tau
        token, soft = row.argmax(), softmax(row / temperature)
        g = upstream.numpy()[b, :, r, c]
        codebook_gradient[token] += g
        jacobian = (np.diag(soft) - np.outer(soft, soft)) / temperature
        logits_gradient[b, :, r, c] = jacobian @ (codebook @ g)
        tokens[b, r, c] = token
        changed += token != best
        squared = np.sum((codebook[token] - codebook[best]) ** 2)
        np.testing.assert_allclose(result["perturbation"][b, r, c].item(), squared, rtol=1e-12)
        assert result["best_tokens"][b, r, c] == best
    assert changed > 0
    assert np.array_equal(result["tokens"].numpy(), tokens)
    assert not result["perturbation"].requires_grad
    chosen = codebook[tokens].transpose(0, 3, 1, 2)
    np.testing.assert_allclose(result["embeddings"].detach().numpy(), chosen, rtol=1e-12)
    np.testing.assert_allclose(gradients[0].numpy(), logits_gradient, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gradients[1].numpy(), codebook_gradient, rtol=1e-10, atol=1e-12)


def test_kl_to_uniform_matches_a_hand_calculation():
    # 3/4 log 3 + 1/4 log 1 = 0.8239592; a single code gives log 4; uniform gives 0.
    distributions = torch.tensor(
        [[0.75, 0.25, 0, 0], [1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]], dtype=torch.float64
    )
    np.testing.assert_allclose(
        kl_to_uniform(distributions).numpy(), [0.8239592165, math.log(4), 0.0], atol=1e-9
    )


@pytest.mark.parametrize(
    "scope, expected",
    # Image 1 uses codes 0,0,0,1 and image 2 only code 2, of N = 4: KL 0.8239592 and log 4;
    # over the batch P = (3/8, 1/8, 1/2, 0): 3/8 log 1.5 - 1/8 log 2 + 1/2 log 2 = 0.4119796.
    [("image", (0.8239592165 + math.log(4)) / 2), ("batch", 0.4119796082)],
)
def test_hard_prior_matches_a_hand_calculation(scope, expected):
    quantizer = RegularizedQuantizer(4, 2, prior_weight=10.0, prior_scope=scope).double().eval()
    tokens = torch.tensor([[[0, 0], [0, 1]], [[2, 2], [2, 2]]])
    logits = torch.nn.functional.one_hot(tokens, 4).double().permute(0, 3, 1, 2)
    prior = quantizer.quantize_logits(logits)["losses"]["prior"].item()
    np.testing.assert_allclose(prior, 10 * expected, rtol=1e-8)


def test_soft_prior_ignores_noise_and_temperature():
    quantizer = RegularizedQuantizer(
        4, 2, mask_ratio=1.0, temperature=0.1, prior_weight=1.0, prior_estimator="soft"
    ).double()
    logits = randn(2, 4, 2, 3)
    mean = softmax(logits.numpy().transpose(0, 2, 3, 1)).mean(axis=(1, 2))
    expected = np.mean(np.sum(mean * np.log(4 * mean), axis=-1))
    prior = quantizer.quantize_logits(logits)["losses"]["prior"].item()
    np.testing.assert_allclose(prior, expected, rtol=1e-8)


def test_the_hard_prior_pulls_unused_codes_up_with_a_finite_gradient():
    quantizer = RegularizedQuantizer(4, 2, prior_weight=1.0).double().eval()
    logits = torch.zeros(1, 4, 2, 2, dtype=torch.float64)
    logits[:, 0] = 1.0
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(quantizer.quantize_logits(logits)["losses"]["prior"], logits)
    assert torch.isfinite(gradient).all()
    assert (gradient[:, 0] > 0).all() and (gradient[:, 1:] < 0).all()


def test_straight_through_is_exactly_one_hot_in_value():
    soft = torch.randn(50, 9).softmax(-1)
    tokens = torch.randint(9, (50,))
    assert torch.equal(straight_through(tokens, soft), torch.eye(9)[tokens])

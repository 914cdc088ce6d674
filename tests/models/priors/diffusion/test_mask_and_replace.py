import numpy as np
import pytest
from keras import ops

from keras_regvq.models.priors.diffusion.mask_and_replace import MaskAndReplace
from tests.gradients import value_and_gradients

N, T, MASK = 5, 10, 5


def matrix(step, share):
    """Q(0 -> step), (N + 1, N + 1): row x_0, column x_t; written from the definition."""
    kept, beta = 1 - step / T, share * step / T / N
    gamma = (1 - share) * step / T
    chances = np.zeros((N + 1, N + 1))
    chances[:N, :N] = beta + kept * np.eye(N)
    chances[:N, MASK] = gamma
    chances[MASK, MASK] = 1
    return chances


def posterior(clean_distribution, noised, later, share, earlier=None):
    """Sum over x_0 of q(x_s | x_t, x_0) p(x_0) by Bayes's rule with the matrices: (N + 1,)."""
    earlier = later - 1 if earlier is None else earlier
    between = np.linalg.solve(matrix(earlier, share), matrix(later, share))
    result = np.zeros(N + 1)
    for clean, chance in enumerate(clean_distribution):
        joint = matrix(earlier, share)[clean] * between[:, noised]
        if chance and joint.sum() > 0:
            result += chance * joint / joint.sum()
    return result


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_transitions_compose_to_the_marginals(share):
    chain = MaskAndReplace(N, T, share)
    product = np.eye(N + 1)
    for step in range(1, T + 1):
        alpha, beta, gamma = chain.between(float(step - 1), float(step))
        transition = np.zeros((N + 1, N + 1))
        transition[:N, :N] = beta + alpha * np.eye(N)
        transition[:N, MASK] = gamma
        transition[MASK, MASK] = 1
        np.testing.assert_allclose(transition.sum(axis=1), 1)
        product = product @ transition
        np.testing.assert_allclose(product, matrix(step, share), atol=1e-12)


def test_noising_has_the_marginals_of_the_chain(rng):
    share, step, count = 0.3, 6, 200_000
    chain = MaskAndReplace(N, T, share)
    tokens = rng.integers(N, size=(1, count)).astype("int32")
    others = rng.integers(N, size=(1, count)).astype("int32")
    uniform = rng.random((1, count), dtype="float32")
    noised = chain.noise(
        *map(ops.convert_to_tensor, (tokens, np.float32([[step]]), uniform, others))
    )
    noised = ops.convert_to_numpy(noised)
    for code in range(N):
        of_code = noised[tokens == code]
        shares = np.bincount(of_code, minlength=N + 1) / len(of_code)
        np.testing.assert_allclose(shares, matrix(step, share)[code], atol=4 * 0.5 / 40_000**0.5)


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("earlier, later", [(5, 6), (0, 1), (9, 10), (0, 10), (3, 8)])
def test_the_reverse_step_draws_from_the_posterior(rng, share, earlier, later):
    chain, count = MaskAndReplace(N, T, share), 40_000
    row = chain.reverse_table(np.array([later, earlier]))
    for clean, noised in ((2, MASK), (2, 2), (2, 4)):
        if share == 0 and noised not in (clean, MASK):
            continue  # cannot occur
        if later == T and share == 0 and noised != MASK:
            continue  # nor this
        drawn = chain.reverse(
            ops.full((1, count), noised, dtype="int32"),
            ops.full((1, count), clean, dtype="int32"),
            ops.convert_to_tensor(row),
            ops.convert_to_tensor(rng.random((1, count), dtype="float32")),
            ops.convert_to_tensor(rng.integers(N, size=(1, count)).astype("int32")),
        )
        shares = np.bincount(ops.convert_to_numpy(drawn)[0], minlength=N + 1) / count
        expected = posterior(np.eye(N)[clean], noised, later, share, earlier)
        np.testing.assert_allclose(shares, expected, atol=4 * 0.5 / count**0.5)


def expected_divergence(clean, noised, step, logits, share):
    """KL of the two posteriors by their definition, float64."""
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    q = posterior(np.eye(N)[clean], noised, step, share)
    p = posterior(probabilities, noised, step, share)
    if share == 0 and noised != MASK:
        return 0.0
    if noised != MASK:
        # Both sum to 1: every x_0 can become the noised code.
        np.testing.assert_allclose((q.sum(), p.sum()), 1)
    return sum(a * np.log(a / b) for a, b in zip(q, p, strict=True) if a > 0)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("step", [1, 2, 7, 10])
def test_variational_terms_are_the_divergence_of_the_posteriors(rng, share, step):
    cases = [(c, n) for c in range(N) for n in range(N + 1)]
    if share == 0:
        cases = [(c, n) for c, n in cases if n in (c, MASK)]
    clean, noised = (np.array([values], "int32") for values in zip(*cases, strict=True))
    logits = (2 * rng.standard_normal((1, len(cases), N))).astype("float32")
    arguments = (clean, noised, np.float32([[step]]), logits)
    terms = MaskAndReplace(N, T, share).variational_terms(*map(ops.convert_to_tensor, arguments))
    expected = [
        expected_divergence(c, n, step, row.astype("float64"), share)
        for (c, n), row in zip(cases, logits[0], strict=True)
    ]
    np.testing.assert_allclose(ops.convert_to_numpy(terms)[0], expected, rtol=2e-4, atol=2e-6)


def test_the_first_step_costs_the_cross_entropy_of_the_clean_token(rng):
    logits = rng.standard_normal((1, N, N)).astype("float32")
    clean = np.arange(N, dtype="int32")[None]
    noised = np.full((1, N), MASK, "int32")
    arguments = (clean, noised, np.float32([[1]]), logits)
    terms = MaskAndReplace(N, T, 0.1).variational_terms(*map(ops.convert_to_tensor, arguments))
    cross_entropy = -np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(
        ops.convert_to_numpy(terms)[0], np.diagonal(cross_entropy[0]), rtol=1e-5
    )


def test_the_gradient_of_the_variational_terms_is_right(rng):
    clean, noised = np.array([[1, 1, 1]], "int32"), np.array([[MASK, 1, 3]], "int32")
    logits = rng.standard_normal((1, 3, N)).astype("float32")
    chain, step = MaskAndReplace(N, T, 0.3), np.float32([[4]])

    def total(logits):
        arguments = map(ops.convert_to_tensor, (clean, noised, step))
        return ops.sum(chain.variational_terms(*arguments, logits))

    _, (gradient,) = value_and_gradients(total, logits)
    numeric = np.zeros_like(logits, dtype="float64")
    for index in np.ndindex(*logits.shape):
        ends = []
        for sign in (1, -1):
            moved = logits.astype("float64")
            moved[index] += sign * 1e-4
            values = [
                expected_divergence(c, n, 4, row, 0.3)
                for c, n, row in zip(clean[0], noised[0], moved[0], strict=True)
            ]
            ends.append(sum(values))
        numeric[index] = (ends[0] - ends[1]) / 2e-4
    np.testing.assert_allclose(gradient, numeric, rtol=1e-3, atol=1e-5)


def test_a_large_codebook_keeps_the_terms_exact_and_finite(rng):
    codes = 16_384
    chain = MaskAndReplace(codes, 100, 0.1)
    clean = np.array([[7, 7]], "int32")
    noised = np.array([[codes, 9]], "int32")
    logits = rng.standard_normal((1, 2, codes)).astype("float32")
    arguments = (clean, noised, np.float32([[50]]), logits)
    terms = ops.convert_to_numpy(chain.variational_terms(*map(ops.convert_to_tensor, arguments)))
    assert np.isfinite(terms).all() and (terms > -1e-5).all()
    perfect = logits.copy()
    perfect[..., 7] = 60.0
    arguments = (clean, noised, np.float32([[50]]), perfect)
    terms = ops.convert_to_numpy(chain.variational_terms(*map(ops.convert_to_tensor, arguments)))
    np.testing.assert_allclose(terms, 0, atol=1e-5)
    assert terms.dtype == np.float32

import keras
import numpy as np
import pytest

from keras_regvq.models.priors.token_choice import choose_tokens, guidance_scales, guide


def choose(logits, uniform, temperature=1.0, top_k=None, top_p=None):
    rows = len(logits)
    tensors = [np.asarray(logits, "float32"), np.asarray(uniform, "float32")]
    tensors.append(np.full(rows, temperature, "float32"))
    if top_p is not None:
        top_p = keras.ops.convert_to_tensor(np.full(rows, top_p, "float32"))
    tensors = map(keras.ops.convert_to_tensor, tensors)
    return keras.ops.convert_to_numpy(choose_tokens(*tensors, top_k=top_k, top_p=top_p))


def probabilities_of(logits, temperature=1.0):
    exponentials = np.exp(np.asarray(logits, "float64") / temperature)
    return exponentials / exponentials.sum()


def drawn_shares(logits, **options):
    """How often each token comes out over an even grid of uniform numbers."""
    uniform = (np.arange(20_000) + 0.5) / 20_000
    tokens = choose(np.broadcast_to(logits, (len(uniform), len(logits))), uniform, **options)
    return np.bincount(tokens, minlength=len(logits)) / len(uniform)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_tokens_come_out_as_often_as_the_softmax_says(rng, temperature):
    logits = rng.normal(size=7) * 2
    shares = drawn_shares(logits, temperature=temperature)
    np.testing.assert_allclose(shares, probabilities_of(logits, temperature), atol=1e-3)


@pytest.mark.parametrize("top_k", [1, 3, 7])
def test_top_k_draws_from_the_k_likeliest_in_proportion(rng, top_k):
    logits = rng.normal(size=7) * 2
    expected = probabilities_of(logits)
    expected[np.argsort(expected)[: 7 - top_k]] = 0
    shares = drawn_shares(logits, top_k=top_k)
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=1e-3)


@pytest.mark.parametrize("top_p", [0.0, 0.3, 0.75, 1.0])
def test_top_p_draws_from_the_smallest_set_that_reaches_it(rng, top_p):
    logits = rng.normal(size=9)
    expected, reached = np.zeros(9), 0.0
    for token in np.argsort(-logits):
        expected[token] = probabilities_of(logits)[token]
        reached += expected[token]
        if reached > top_p:
            break
    shares = drawn_shares(logits, top_p=top_p)
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=1e-3)


def test_top_k_and_top_p_both_hold(rng):
    logits = np.log([0.4, 0.3, 0.2, 0.1])
    # Of the two likeliest, renormalized to 4/7 and 3/7, the first alone reaches 0.5.
    np.testing.assert_allclose(drawn_shares(logits, top_k=2, top_p=0.5), [1, 0, 0, 0])
    np.testing.assert_allclose(drawn_shares(logits, top_k=2, top_p=0.9), [4 / 7, 3 / 7, 0, 0], 1e-3)


def test_the_extreme_uniform_numbers_give_tokens_that_can_be_drawn():
    logits = [[-1e9, 0.0, 0.0, -1e9]] * 2
    assert choose(logits, [0.0, 1 - 2.0**-24]).tolist() == [1, 2]


def test_guidance_moves_away_from_the_unconditional_logits(rng):
    conditional, unconditional = rng.normal(size=(2, 3, 5)).astype("float32")
    scale = np.array([0.0, 1.0, 2.5], "float32")
    tensors = map(keras.ops.convert_to_tensor, (conditional, unconditional, scale))
    guided = keras.ops.convert_to_numpy(guide(*tensors))
    np.testing.assert_allclose(guided[0], unconditional[0], atol=1e-6)
    np.testing.assert_allclose(guided[1], conditional[1], atol=1e-6)
    np.testing.assert_allclose(guided[2], 2.5 * conditional[2] - 1.5 * unconditional[2], atol=1e-5)


def test_guidance_schedules_rise_from_one_to_the_scale():
    assert guidance_scales(3.0, "constant", 4).tolist() == [3.0] * 4
    np.testing.assert_allclose(guidance_scales(3.0, "linear", 4), [1.5, 2.0, 2.5, 3.0])
    cosine = guidance_scales(3.0, "cosine", 64)
    assert (np.diff(cosine) > 0).all() and cosine[0] < 1.01 and cosine[-1] == 3.0
    np.testing.assert_allclose(guidance_scales(2.0, lambda share: share >= 0.5, 4), [1, 1, 2, 2])


@pytest.mark.parametrize(
    "scale, schedule, named",
    [(-1, "constant", "guidance_scale"), (2, "cubic", "guidance_schedule"), (2, 3, "schedule")],
)
def test_wrong_guidance_is_named(scale, schedule, named):
    with pytest.raises(ValueError, match=named):
        guidance_scales(scale, schedule, 4)

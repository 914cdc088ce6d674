"""Outputs, losses and gradients equal those of the one-hot PyTorch reference."""

import itertools

import keras
import numpy as np
import pytest

from keras_regvq.quantizers import GumbelQuantizer, RegularizedQuantizer, VectorQuantizer
from keras_regvq.quantizers.straight_through import first_largest
from tests.gradients import assert_close, layer_gradients, layer_outputs
from tests.quantizers.reference import (
    BATCH,
    CHANNELS,
    CODE_WIDTH,
    CODES,
    GRIDS,
    HEIGHT,
    LENGTH,
    WIDTH,
    assert_same_gradients,
    differentiate,
    make,
    reference,
)


@pytest.fixture
def features(rng):
    return rng.normal(size=(BATCH, HEIGHT, WIDTH, CHANNELS)).astype("float32")


@pytest.fixture(autouse=True)
def no_one_hot(monkeypatch):
    """All of these run without one (positions x codes) one-hot, forward and backward."""

    def refuse(*arguments, **keywords):
        raise AssertionError("ops.one_hot was called")

    monkeypatch.setattr(keras.ops, "one_hot", refuse)
    monkeypatch.setattr(keras.ops.nn, "one_hot", refuse)


@pytest.fixture
def upstream(rng):
    """A gradient that arrives at the embeddings."""
    return rng.normal(size=(BATCH, HEIGHT, WIDTH, CODE_WIDTH)).astype("float32")


def assert_same_outputs(outputs, expected):
    for name in GRIDS:
        np.testing.assert_array_equal(outputs[name], expected[name])
    assert_close(outputs["embeddings"], expected["embeddings"])
    assert_close(outputs["perturbation"], expected["perturbation"])
    assert set(outputs["losses"]) == set(expected["losses"])
    for name, loss in expected["losses"].items():
        assert_close(outputs["losses"][name], loss, message=name)


def assert_equals_reference(layer, features, upstream, draws=None):
    expected, expected_value, expected_gradients = reference(layer, features, upstream, draws)
    outputs, value, gradients = differentiate(layer, features, upstream, training=True)
    assert_same_outputs(outputs, expected)
    for name, loss in expected["losses"].items():
        assert abs(loss) > 1e-3, f"the test says nothing about the loss {name}"
    assert_close(value, expected_value)
    assert_same_gradients(gradients, expected_gradients)
    return expected


EVERY_PRIOR = list(itertools.product(("image", "batch"), ("hard", "soft")))


@pytest.mark.parametrize(
    ("mask_ratio", "temperature", "prior_scope", "prior_estimator"),
    [(0.4, temperature, *prior) for temperature in (1.0, 0.5) for prior in EVERY_PRIOR]
    + [(mask_ratio, 0.5, *prior) for mask_ratio in (0, 1) for prior in EVERY_PRIOR[1:3]],
)
def test_the_regularized_quantizer_equals_the_reference(
    mask_ratio, prior_scope, prior_estimator, temperature, features, upstream, script, rng
):
    options = dict(
        prior_scope=prior_scope, prior_estimator=prior_estimator, temperature=temperature
    )
    layer = make(RegularizedQuantizer, rng, mask_ratio=mask_ratio, prior_weight=2.0, **options)
    sampled_count = round(mask_ratio * LENGTH)
    expected = assert_equals_reference(layer, features, upstream, script(sampled_count))
    assert expected["mask"].sum() == BATCH * sampled_count
    moved = expected["tokens"] != expected["best_tokens"]
    assert moved.any() == (mask_ratio > 0), "noise that changes no code tests little"


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_gumbel_quantizer_equals_the_reference(temperature, features, upstream, script, rng):
    layer = make(GumbelQuantizer, rng, temperature=temperature, kl_weight=2.0)
    expected = assert_equals_reference(layer, features, upstream, script(LENGTH))
    assert (expected["tokens"] != expected["best_tokens"]).any()
    assert expected["mask"].all()


def test_the_vector_quantizer_equals_the_reference(rng, upstream):
    features = rng.normal(size=(BATCH, HEIGHT, WIDTH, CODE_WIDTH)).astype("float32")
    layer = make(VectorQuantizer, rng, channels=CODE_WIDTH, commitment_weight=0.25)
    assert_equals_reference(layer, features, upstream)


@pytest.mark.parametrize("quantizer", [RegularizedQuantizer, GumbelQuantizer])
def test_outputs_at_inference_equal_the_reference(quantizer, features, rng):
    layer = make(quantizer, rng)
    expected, _, _ = reference(layer, features, np.ones(1), training=False)
    assert_same_outputs(layer_outputs(layer, features), expected)


def test_beta_weighs_the_commitment_term_and_not_the_codebook_term(rng):
    """Swapped weights are a known defect of a widely used VQ-GAN."""
    features = rng.normal(size=(BATCH, HEIGHT, WIDTH, CODE_WIDTH)).astype("float32")
    layer = make(VectorQuantizer, rng, channels=CODE_WIDTH, commitment_weight=0.25)
    codebook = keras.ops.convert_to_numpy(layer.codebook.value)
    distances = np.square(features[..., None, :] - codebook).sum(-1)
    tokens = distances.argmin(-1)
    difference = features - codebook[tokens]
    outputs, _, pulls = layer_gradients(
        layer, features, lambda outputs: sum(outputs["losses"].values())
    )
    np.testing.assert_array_equal(outputs["tokens"], tokens)
    assert_close(outputs["losses"]["codebook"], np.square(difference).mean())
    assert_close(outputs["losses"]["commitment"], 0.25 * np.square(difference).mean())
    assert_close(pulls["inputs"], 0.25 * 2 * difference / difference.size)
    into_codes = np.zeros_like(codebook)
    np.add.at(into_codes, tokens, -2 * difference / difference.size)
    assert_close(pulls["codebook"], into_codes)


@pytest.mark.parametrize("block_size", [2, 5, 8])
@pytest.mark.parametrize(
    ("quantizer", "options"),
    [
        (RegularizedQuantizer, dict(prior_weight=2.0, prior_estimator="hard", temperature=0.5)),
        (RegularizedQuantizer, dict(prior_weight=2.0, prior_estimator="soft")),
        (GumbelQuantizer, dict(kl_weight=2.0, temperature=0.5)),
        (VectorQuantizer, {}),
    ],
    ids=["regularized-hard", "regularized-soft", "gumbel", "vector"],
)
def test_a_codebook_in_blocks_equals_the_reference(
    quantizer, options, block_size, features, upstream, script, rng
):
    if quantizer is VectorQuantizer:
        features = features[..., :CODE_WIDTH]
    # 11 codes in blocks of 5: three chunks, of Reg-VQ's sampled positions one, of the others two.
    layer = make(quantizer, rng, features.shape[-1], block_size=block_size, **options)
    sampled_count = LENGTH if quantizer is GumbelQuantizer else round(0.4 * LENGTH)
    draws = None if quantizer is VectorQuantizer else script(sampled_count)
    assert_equals_reference(layer, features, upstream, draws)


@pytest.mark.parametrize("mask_ratio", [0.0, 0.01, 0.99, 1.0])
def test_a_codebook_in_blocks_may_have_no_sampled_position_or_no_other(
    mask_ratio, features, upstream, script, rng
):
    layer = make(RegularizedQuantizer, rng, block_size=5, mask_ratio=mask_ratio, prior_weight=2.0)
    assert_equals_reference(layer, features, upstream, script(round(mask_ratio * LENGTH)))


@pytest.mark.parametrize("size", [4096, 4100])
def test_the_largest_of_many_logits(size, rng):
    """In pieces of 256 codes where these divide the codebook."""
    logits = rng.integers(0, 400, (2, 3, size)).astype("float32")
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(first_largest(keras.ops.convert_to_tensor(logits))),
        logits.argmax(-1),
    )


def test_the_lowest_code_wins_a_tie_across_blocks(rng):
    layer = make(VectorQuantizer, rng, channels=CODE_WIDTH, block_size=5)
    codebook = rng.normal(size=(CODES, CODE_WIDTH)).astype("float32")
    codebook[[5, 6, 9]] = codebook[2]
    layer.codebook.assign(codebook)
    tokens = layer.best_tokens(codebook[None, None])
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(tokens)[0, 0], [0, 1, 2, 3, 4, 2, 2, 7, 8, 2, 10]
    )


def test_extreme_uniform_draws_give_finite_noise_and_gradients(features, upstream, script, rng):
    """Some backends draw an exact 0, where -log(-log 0) is infinite."""
    layer = make(RegularizedQuantizer, rng, mask_ratio=1.0, prior_estimator="hard")
    draws = script(LENGTH)
    draws.uniform[:, ::3] = 0.0
    draws.uniform[:, 1::3] = 1.0  # uniform() excludes it; a rounding error away
    outputs, value, gradients = differentiate(layer, features, upstream, training=True)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
    # Equal noise at every code of these positions: the best code stays the best.
    moved = (outputs["tokens"] != outputs["best_tokens"]).reshape(BATCH, LENGTH)
    assert not moved[:, 0::3].any()

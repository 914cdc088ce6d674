"""Codebooks as moving averages, beside vector-quantize-pytorch and by hand."""

import itertools

import numpy as np
import pytest

from keras_regvq.quantizers import VectorQuantizer
from tests.gradients import assert_close, layer_outputs
from tests.quantizers.vq_peer import WIDTH, array, check_step, make_pair

OPTIONS = [
    dict(zip(("narrow", "normalize", "rotation_trick"), on, strict=True))
    for on in itertools.product((False, True), repeat=3)
]


def state_of(layer):
    return [array(variable) for variable in layer.variables]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda on: "-".join(k for k in on if on[k]))
def test_steps_give_what_vector_quantize_pytorch_gives(options, rng):
    layer, peer = make_pair(rng, **options)
    for _ in range(3):
        features, upstream = rng.normal(size=(2, 2, 3, 4, WIDTH)).astype("float32")
        check_step(layer, peer, features, upstream)


def test_the_state_is_that_of_the_formulas(rng):
    layer = VectorQuantizer(5, 2, ema=0.7)
    layer.build((None, None, None, 2))
    codes = rng.normal(size=(5, 2))
    layer.codebook.assign(codes)
    layer.upkeep.sums.assign(codes)
    counts, sums = np.ones(5), codes
    for _ in range(4):
        features = rng.normal(size=(2, 2, 2, 2))
        rows = features.reshape(-1, 2)
        tokens = np.square(rows[:, None] - codes).sum(-1).argmin(-1)
        np.testing.assert_array_equal(
            layer_outputs(layer, features, training=True)["tokens"].ravel(), tokens
        )
        one_hot = np.eye(5)[tokens]
        counts = 0.7 * counts + 0.3 * one_hot.sum(0)
        sums = 0.7 * sums + 0.3 * one_hot.T @ rows
        codes = sums / (counts.sum() * (counts + 1e-5) / (counts.sum() + 5e-5))[:, None]
        assert_close(array(layer.codebook), codes)
    assert_close(array(layer.upkeep.counts), counts)


ALL = {"ema": 0.9, "codebook_start": "kmeans", "dead_code_threshold": 0.5, "seed": 1}


@pytest.mark.parametrize("options", [ALL, {**ALL, "ema": None}], ids=["ema", "gradient"])
def test_nothing_moves_outside_of_training_or_in_a_frozen_quantizer(options, rng):
    layer = VectorQuantizer(5, 3, projection_dim=2, **options)
    layer.build((None, None, None, 3))
    features = rng.normal(size=(2, 3, 4, 3)).astype("float32")
    before = state_of(layer)
    layer_outputs(layer, features)
    layer.best_tokens(features)
    layer.exported_tokens(features)
    layer.trainable = False
    layer_outputs(layer, features, training=True)
    for old, new in zip(before, state_of(layer), strict=True):
        np.testing.assert_array_equal(old, new)


def test_thawing_a_quantizer_gives_its_codebook_no_gradient(rng):
    layer = VectorQuantizer(5, 3, ema=0.9)
    layer.build((None, None, None, 3))
    layer.trainable = False
    layer.trainable = True
    assert layer.trainable_variables == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_leave_the_state_as_it_was(bad, rng):
    layer = VectorQuantizer(5, 3, **{**ALL, "codebook_start": "sampled"})
    layer.build((None, None, None, 3))
    good = rng.normal(size=(2, 3, 4, 3)).astype("float32")
    broken = np.where(rng.random(good.shape) < 0.5, bad, good).astype("float32")
    layer_outputs(layer, np.full_like(good, bad), training=True)
    assert array(layer.upkeep.started) == 0
    layer_outputs(layer, good, training=True)
    assert array(layer.upkeep.started) == 1
    state = {v.path: array(v) for v in layer.non_trainable_variables if "seed" not in v.path}
    layer_outputs(layer, broken, training=True)
    for variable in layer.non_trainable_variables:
        if "seed" not in variable.path:
            np.testing.assert_array_equal(array(variable), state[variable.path])

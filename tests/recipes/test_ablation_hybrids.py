import importlib

import keras
import numpy as np
import pytest
from scipy.special import softmax

from tests.gradients import assert_close, layer_gradients, layer_outputs

CODES, WIDTH, SCALE = 16, 8, 30.0


def built(**options):
    module = importlib.import_module("ablation_hybrids")
    keras.utils.set_random_seed(0)
    settings = {"mask_ratio": 0.0, "prior_weight": 0.0, "prior_target": "uniform", "scale": SCALE}
    settings = {**settings, "ema": 0.99, "seed": 0, **options}
    quantizer = module.MaskedVectorQuantizer(CODES, WIDTH, **settings)
    quantizer.build((None, None, None, WIDTH))
    return quantizer


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(3, 4, 5, WIDTH)).astype("float32")


def probabilities(quantizer, features):
    """softmax(scale * cos) of all positions, (P, N), by NumPy."""
    codes = keras.ops.convert_to_numpy(quantizer.codes())
    rows = features.reshape(-1, WIDTH)
    rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return softmax(SCALE * rows @ codes.T, axis=-1)


def test_the_prior_is_the_divergence_of_the_mean_use_from_uniform(features):
    quantizer = built(prior_weight=0.5)
    losses = quantizer(features)["losses"]
    assert set(losses) == set(quantizer.loss_names) == {"commitment", "prior"}
    mean = probabilities(quantizer, features).mean(axis=0)
    expected = 0.5 * np.sum(mean * np.log(CODES * mean))
    np.testing.assert_allclose(float(losses["prior"]), expected, rtol=1e-4)


def test_the_running_target_learns_what_the_data_use_and_only_in_training(features):
    quantizer = built(prior_weight=1.0, prior_target="running")
    even = float(quantizer(features)["losses"]["prior"])
    mean = probabilities(quantizer, features).mean(axis=0)
    np.testing.assert_allclose(even, np.sum(mean * np.log(CODES * mean)), rtol=1e-4)
    tokens = keras.ops.convert_to_numpy(quantizer.best_tokens(features))
    quantizer(features, training=True)
    seen = np.bincount(tokens.ravel(), minlength=CODES) / tokens.size
    running = keras.ops.convert_to_numpy(quantizer.running)[0]
    np.testing.assert_allclose(running, 0.99 / CODES + 0.01 * seen, rtol=1e-5)


def test_masked_positions_are_drawn_and_the_gradient_passes_on(features):
    quantizer = built(mask_ratio=0.4, ema=None)
    best = keras.ops.convert_to_numpy(quantizer.best_tokens(features))
    likely = probabilities(quantizer, features).reshape(*best.shape, CODES)
    drawn = np.zeros(CODES)
    for _ in range(100):
        result = layer_outputs(quantizer, features, training=True)
        mask, tokens = result["mask"], result["tokens"]
        assert (mask.sum(axis=(1, 2)) == 8).all()  # of 20 positions
        np.testing.assert_array_equal(tokens[~mask], best[~mask])
        drawn += np.bincount(tokens[mask], minlength=CODES)
    np.testing.assert_allclose(drawn / drawn.sum(), likely.mean(axis=(0, 1, 2)), atol=0.03)
    codes = keras.ops.convert_to_numpy(quantizer.codes())
    assert_close(result["embeddings"], codes[tokens])

    upstream = np.random.default_rng(1).normal(size=features.shape).astype("float32")
    fixed = keras.ops.convert_to_tensor(upstream)
    gradient = layer_gradients(
        quantizer, features, lambda r: keras.ops.sum(r["embeddings"] * fixed), training=True
    )[2]["inputs"]
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    unit = features / length  # the gradient of x / |x|: what is along x falls out
    expected = (upstream - unit * np.sum(unit * upstream, axis=-1, keepdims=True)) / length
    assert_close(gradient, expected, 1e-4)

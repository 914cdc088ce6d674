"""Dead codes become features of the batch, beside vector-quantize-pytorch."""

import numpy as np
import pytest

from keras_regvq.quantizers import VectorQuantizer
from tests.gradients import assert_close, layer_gradients, layer_outputs
from tests.quantizers.vq_peer import CODES, WIDTH, array, check_step, make_pair, torch

THRESHOLD = 1.5


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("narrow", [False, pytest.param(True, marks=pytest.mark.seldom)])
def test_steps_give_what_vector_quantize_pytorch_gives(narrow, normalize, rng):
    layer, peer = make_pair(rng, narrow, normalize, threshold=THRESHOLD, seed=4)
    replaced = []

    def same_features(samples, number):
        """Those that our quantizer took, for the codes that are dead there."""
        dead = (peer._codebook.cluster_size[0] < THRESHOLD).numpy()
        assert dead.sum() == number
        codes = array(layer.compared_codes())[dead]
        distances = np.square(codes[:, None] - samples[0].detach().numpy()).sum(-1)
        np.testing.assert_allclose(distances.min(-1), 0, atol=1e-10)
        assert len(set(distances.argmin(-1))) == number, "a feature was taken twice"
        replaced.append(int(number))
        return torch.tensor(codes)[None]

    peer._codebook.replace_sample_fn = same_features
    for _ in range(4):
        features, upstream = rng.normal(size=(2, 2, 3, 2, WIDTH)).astype("float32")
        check_step(layer, peer, features, upstream)
    assert sum(replaced) > 3 and min(replaced) < CODES


def make(codes, **options):
    layer = VectorQuantizer(codes, WIDTH, seed=3, **options)
    layer.build((None, None, None, WIDTH))
    return layer


def test_if_there_are_more_dead_codes_than_features_some_wait(rng):
    layer = make(CODES, ema=0.9, dead_code_threshold=5.0)
    codes = array(layer.codebook)
    features = rng.normal(size=(1, 1, 4, WIDTH)).astype("float32")
    layer_outputs(layer, features, training=True)
    rows, after = features.reshape(-1, WIDTH), array(layer.codebook)
    fresh = np.square(after[:, None] - rows).sum(-1).min(-1) < 1e-12
    assert fresh.sum() == 4 and len(np.unique(after[fresh], axis=0)) == 4
    np.testing.assert_allclose(array(layer.upkeep.counts)[fresh], 5)
    assert (array(layer.upkeep.counts)[~fresh] < 5).all() and len(codes) == CODES


def test_all_codes_come_into_use(rng):
    layer = make(8, codebook_initializer="zeros", ema=0.5, dead_code_threshold=0.5)
    centres = 10 * rng.normal(size=(8, WIDTH))
    used = []
    for _ in range(40):
        noise = rng.normal(size=(2, 4, 4, WIDTH))
        features = (centres[rng.integers(0, 8, (2, 4, 4))] + 0.1 * noise).astype("float32")
        used.append(len(np.unique(layer_outputs(layer, features, training=True)["tokens"])))
    assert used[0] == 1 and used[-1] == 8


def test_codes_that_a_gradient_trains_are_moved_and_trained_on(rng):
    layer = make(CODES, dead_code_threshold=0.5)
    layer.codebook.assign(rng.normal(size=(CODES, WIDTH)) + 30 * (np.arange(CODES) > 3)[:, None])
    before = array(layer.codes())
    features = rng.normal(size=(2, 3, 4, WIDTH)).astype("float32")
    counts, steps = np.ones(CODES), 0
    while (counts >= 0.5).all():  # a code that nothing chooses loses 1 % a step
        outputs = layer_outputs(layer, features, training=True)
        counts = 0.99 * counts + 0.01 * np.bincount(outputs["tokens"].ravel(), minlength=CODES)
        steps += 1
    assert steps == 69
    dead, after = counts < 0.5, array(layer.codes())
    np.testing.assert_array_equal(after[~dead], before[~dead])
    rows = features.reshape(-1, WIDTH)
    np.testing.assert_allclose(np.square(after[dead][:, None] - rows).sum(-1).min(-1), 0, atol=1e-9)
    assert_close(array(layer.upkeep.counts), np.where(dead, 0.5, counts))

    outputs, _, gradients = layer_gradients(
        layer, features, lambda out: out["losses"]["codebook"], training=True
    )
    tokens, chosen = outputs["tokens"].ravel(), outputs["embeddings"].reshape(rows.shape)
    expected = np.zeros((CODES, WIDTH))
    np.add.at(expected, tokens, 2 * (chosen - rows) / rows.size)
    assert set(tokens) & set(np.flatnonzero(dead))
    assert_close(gradients["codebook"], expected)

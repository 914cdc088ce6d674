"""Codebooks that start among the features of the first batch."""

import keras
import numpy as np
import pytest
import torch
from keras import ops
from vector_quantize_pytorch.vector_quantize_pytorch import kmeans as peer_kmeans

from keras_regvq.quantizers import VectorQuantizer
from keras_regvq.quantizers.kmeans import kmeans
from tests.gradients import assert_close, layer_gradients, layer_outputs
from tests.quantizers.vq_peer import array

CODES, WIDTH = 7, 3


@pytest.fixture
def features(rng):
    return rng.normal(size=(2, 4, 5, WIDTH)).astype("float32")


@pytest.fixture
def unshuffled(monkeypatch):
    """The first features are drawn, in order."""
    monkeypatch.setattr(keras.random, "shuffle", lambda x, axis=0, seed=None: x)


def make(**options):
    layer = VectorQuantizer(CODES, WIDTH, **{"seed": 2, "block_size": 4, **options})
    layer.build((None, None, None, WIDTH))
    return layer


def model_of(layer):
    inputs = keras.Input((None, None, WIDTH))
    return keras.Model(inputs, layer(inputs))


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def means_of(rows, codes, normalize):
    """vector-quantize-pytorch's k-means, from given codes."""
    found, _ = peer_kmeans(
        torch.tensor(rows)[None], len(codes), use_cosine_sim=normalize,
        sample_fn=lambda samples, number: torch.tensor(codes)[None],
    )  # fmt: skip
    return found[0].numpy()


@pytest.mark.parametrize("normalize", [False, True])
def test_kmeans_is_that_of_vector_quantize_pytorch(normalize, rng):
    rows, codes = (rng.normal(size=(n, WIDTH)).astype("float32") for n in (60, CODES))
    codes[3] = 40  # nearest to nothing: it stays
    if normalize:
        rows, codes = unit(rows), unit(codes)
    found = kmeans(*map(ops.convert_to_tensor, (rows, codes)), 10, normalize, block_size=3)
    expected = means_of(rows, codes, normalize)
    assert np.abs(expected - codes).max() > 0.1
    assert_close(found, expected)
    if not normalize:
        np.testing.assert_array_equal(expected[3], 40)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("start", ["sampled", "kmeans"])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_the_first_batch_meets_codes_from_among_its_features(
    ema, start, normalize, features, unshuffled
):
    layer = make(ema=ema, codebook_start=start, normalize=normalize)
    outputs = layer_outputs(layer, features, training=True)
    rows = features.reshape(-1, WIDTH)
    rows = unit(rows) if normalize else rows
    codes = rows[:CODES] if start == "sampled" else means_of(rows, rows[:CODES], normalize)
    tokens = np.square(rows[:, None] - codes).sum(-1).argmin(-1)
    np.testing.assert_array_equal(outputs["tokens"].ravel(), tokens)
    assert_close(outputs["embeddings"].reshape(-1, WIDTH), codes[tokens])
    if ema is None:
        assert_close(array(layer.codes()), codes)
    else:  # each code then counts as one of average usage
        one_hot = np.eye(CODES)[tokens]
        counts = 0.9 * len(rows) / CODES + 0.1 * one_hot.sum(0)
        sums = 0.9 * len(rows) / CODES * codes + 0.1 * one_hot.T @ rows
        assert_close(array(layer.upkeep.counts), counts)
        assert_close(array(layer.upkeep.sums), sums)


def test_sampled_codes_are_different_features_and_other_ones_with_another_seed(features):
    rows = features.reshape(-1, WIDTH)
    drawn = []
    for seed in (1, 1, 2):
        layer = make(codebook_start="sampled", seed=seed)
        layer_outputs(layer, features, training=True)
        distances = np.square(array(layer.codes())[:, None] - rows).sum(-1)
        np.testing.assert_allclose(distances.min(-1), 0, atol=1e-12)
        drawn.append(distances.argmin(-1))
        assert len(set(drawn[-1])) == CODES
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()


def test_with_fewer_features_than_codes_each_is_used_as_often(rng):
    layer = make(codebook_start="sampled")
    features = rng.normal(size=(1, 1, 3, WIDTH)).astype("float32")
    layer_outputs(layer, features, training=True)
    _, counts = np.unique(array(layer.codes()).round(4), axis=0, return_counts=True)
    assert sorted(counts) == [2, 2, 3]


@pytest.mark.parametrize("start", ["sampled", "kmeans"])
def test_it_happens_once_and_not_again_after_loading(start, features, tmp_path):
    layer = make(codebook_start=start)
    layer_outputs(layer, features, training=True)
    codes = array(layer.codes())
    layer_outputs(layer, features + 1, training=True)
    np.testing.assert_array_equal(array(layer.codes()), codes)
    model_of(layer).save_weights(tmp_path / "codes.weights.h5")
    other = make(codebook_start=start, seed=5)
    model_of(other).load_weights(tmp_path / "codes.weights.h5")
    layer_outputs(other, features + 1, training=True)
    np.testing.assert_array_equal(array(other.codes()), codes)


def test_a_start_that_is_taken_back_happens_again(features):
    layer = make(codebook_start="sampled")
    before = [array(variable) for variable in layer.variables]
    for _ in range(2):
        layer_outputs(layer, features, training=True)
    codes = array(layer.codes())
    for variable, value in zip(layer.variables, before, strict=True):
        variable.assign(value)
    layer_outputs(layer, features, training=True)
    np.testing.assert_array_equal(array(layer.codes()), codes)


def test_codes_that_a_gradient_trains_have_that_of_a_plain_quantizer(features, rng):
    upstream = rng.normal(size=features.shape).astype("float32")

    def run(layer):
        return layer_gradients(
            layer,
            features[:, ::-1] + 1,
            lambda out: (
                ops.sum(out["embeddings"] * ops.convert_to_tensor(upstream))
                + sum(out["losses"].values())
            ),
            training=True,
        )

    layer, plain = make(codebook_start="kmeans", normalize=True), make(normalize=True)
    layer_outputs(layer, features, training=True)
    plain.codebook.assign(array(layer.upkeep.codes(layer.codebook)))
    (outputs, value, gradients), (wanted, wanted_value, expected) = run(layer), run(plain)
    np.testing.assert_array_equal(outputs["tokens"], wanted["tokens"])
    assert value == pytest.approx(wanted_value, rel=1e-5)
    assert np.abs(expected["codebook"]).max() > 1e-3
    for name in ("inputs", "codebook"):
        assert_close(gradients[name], expected[name])

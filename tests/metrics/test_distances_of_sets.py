"""Frechet distance, manifold precision and recall, and Inception Score, against other formulas."""

import numpy as np
import pytest
import scipy.linalg
from keras import ops

from keras_regvq.metrics import FrechetDistance, InceptionScore, ManifoldPrecision, ManifoldRecall


def two_sets(count, other, size, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((size, size))
    real = rng.standard_normal((count, size)) @ mixing + 3
    return real, 1.3 * rng.standard_normal((other, size)) @ mixing.T


def result_of(metric, real, generated, parts=1):
    """The metric of sets that come in uneven batches, each by itself."""
    for name, values in (("y_true", real), ("y_pred", generated)):
        for part in np.array_split(values, parts):
            metric.update_state(**{name: ops.convert_to_tensor(part.astype("float32"))})
    return float(metric.result())


def frechet_by_square_root(real, generated):
    difference = real.mean(0) - generated.mean(0)
    covariances = np.cov(real, rowvar=False), np.cov(generated, rowvar=False)
    root = np.real(scipy.linalg.sqrtm(covariances[0] @ covariances[1]))
    return difference @ difference + np.trace(covariances[0] + covariances[1] - 2 * root)


@pytest.mark.parametrize("count, other, size", [(50, 40, 8), (300, 30, 5), (9, 500, 8)])
def test_the_frechet_distance_is_scipys(count, other, size):
    real, generated = two_sets(count, other, size)
    expected = frechet_by_square_root(real, generated)
    assert result_of(FrechetDistance(), real, generated, 3) == pytest.approx(expected, rel=1e-4)


def test_the_frechet_distance_of_normal_distributions_in_one_dimension():
    rng = np.random.default_rng(0)
    real, generated = rng.normal(2, 3, (200_000, 1)), rng.normal(4, 0.5, (200_000, 1))
    expected = (2 - 4) ** 2 + (3 - 0.5) ** 2
    assert result_of(FrechetDistance(), real, generated) == pytest.approx(expected, rel=0.01)


def test_fewer_images_than_features_give_no_complex_or_negative_distance():
    real, generated = two_sets(6, 4, 40)
    distance = result_of(FrechetDistance(), real, generated)
    # The same, of the six directions that the real and the four that the generated images span.
    axes = np.linalg.svd(np.concatenate([real, generated]), full_matrices=False)[2]
    expected = frechet_by_square_root(real @ axes.T, generated @ axes.T)
    assert distance == pytest.approx(expected, rel=1e-3)
    assert result_of(FrechetDistance(), real, real) == pytest.approx(0, abs=1e-3)
    constant = np.ones((5, 40))
    assert result_of(FrechetDistance(), constant, constant) == 0
    assert result_of(FrechetDistance(), constant, constant + 0.5) == pytest.approx(10)


def overlap_by_loops(points, manifold, k):
    radii = [sorted(np.linalg.norm(manifold - center, axis=1))[k] for center in manifold]
    return np.mean(
        [
            any(
                np.linalg.norm(point - center) <= radius
                for center, radius in zip(manifold, radii, strict=True)
            )
            for point in points
        ]
    )


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_those_of_loops_over_all_pairs(k, monkeypatch):
    monkeypatch.setattr("keras_regvq.metrics.manifold_overlap._BLOCK", 7)
    rng = np.random.default_rng(0)
    real = rng.standard_normal((40, 3)).astype("float32")
    generated = (0.6 * rng.standard_normal((25, 3)) + 1.2).astype("float32")
    precision = result_of(ManifoldPrecision(neighbours=k), real, generated, 4)
    recall = result_of(ManifoldRecall(neighbours=k), real, generated, 4)
    assert precision == pytest.approx(overlap_by_loops(generated, real, k))
    assert recall == pytest.approx(overlap_by_loops(real, generated, k))
    assert 0 < recall < precision < 1


def test_sets_that_are_alike_overlap_and_far_ones_do_not():
    real, _ = two_sets(20, 5, 4)
    for metric in (ManifoldPrecision, ManifoldRecall):
        assert result_of(metric(), real, real) == 1
        assert result_of(metric(), real, real + 1e4) == 0
        with pytest.raises(ValueError, match="3 images.*more than neighbours=3"):
            result_of(metric(), real[:3], real)


def test_inception_score_by_its_definition():
    logits = np.random.default_rng(0).normal(0, 2, (30, 7))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    divergences = [sum(row * np.log(row / p.mean(0))) for row in p]
    metric = InceptionScore()
    for part in np.array_split(logits, 4):
        metric.update_state(y_pred=part)
    assert float(metric.result()) == pytest.approx(np.exp(np.mean(divergences)), rel=1e-5)


@pytest.mark.parametrize("classes, expected", [(range(5), 5), ([2] * 5, 1)])
def test_inception_score_goes_from_one_to_the_number_of_classes(classes, expected):
    metric = InceptionScore()
    metric.update_state(y_pred=1e4 * np.eye(5)[list(classes)])
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("metric", [FrechetDistance(), ManifoldPrecision(neighbours=2)])
def test_features_that_are_not_finite_are_refused_and_not_kept(metric):
    real, generated = two_sets(12, 9, 3)
    before = result_of(metric, real, generated)
    with pytest.raises(ValueError, match="`y_pred` is wrong.*NaN or infinite"):
        metric.update_state(y_pred=np.where(generated > 0, np.nan, generated))
    assert float(metric.result()) == before


@pytest.mark.parametrize(
    "metric", [FrechetDistance(), ManifoldPrecision(neighbours=2), ManifoldRecall()]
)
def test_a_reset_starts_anew_and_a_config_makes_the_same_metric(metric):
    real, generated = two_sets(12, 9, 3)
    first = result_of(metric, real, generated)
    metric.reset_state()
    assert result_of(metric, real, generated) == first
    copy = type(metric).from_config(metric.get_config())
    assert result_of(copy, real, generated) == first

"""Precision and recall of generated images: which share of each set lies where the other does."""

import keras
import numpy as np
from keras import ops

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.metrics.image_features import ImageFeatures

_BLOCK = 1024  # rows of the distance matrix at a time


def share_within(points, manifold, neighbours=3):
    """Share of `points` that lie within the manifold that a set of features spans.

    Kynkaanniemi et al. 2019, equation 1: the manifold is the union of balls around its features,
    each as large as the distance to its k-th nearest other feature.

    Args:
        points, manifold: float64 (N, F) and (M, F), M above `neighbours`.
        neighbours: k.

    Returns:
        float from 0 to 1.
    """
    radii = np.concatenate(
        [
            # The nearest is the feature itself.
            np.partition(_squared_distances(block, manifold), neighbours, axis=1)[:, neighbours]
            for block in _blocks(manifold)
        ]
    )
    within = [
        (_squared_distances(block, manifold) <= radii).any(axis=1) for block in _blocks(points)
    ]
    return float(np.concatenate(within).mean())


def _blocks(rows):
    return (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))


def _squared_distances(x, y):
    products = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1) - 2 * x @ y.T
    return np.maximum(products, 0)


class _ManifoldOverlap(ImageFeatures):
    def __init__(self, feature_extractor=None, neighbours=3, name=None, dtype="float32"):
        super().__init__(feature_extractor, name=name, dtype=dtype)
        self.neighbours = check_positive_integer("neighbours", neighbours)

    def features(self, argument):
        features = super().features(argument)
        if len(features) <= self.neighbours:
            expected = f"more than neighbours={self.neighbours} of each set"
            refuse(argument, f"{len(features)} images since the last reset", expected)
        return features

    def get_config(self):
        return {**super().get_config(), "neighbours": self.neighbours}


@keras.saving.register_keras_serializable(package="keras_regvq")
class ManifoldPrecision(_ManifoldOverlap):
    """Share of the generated images that look like some real one: their fidelity.

    Kynkaanniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative
    Models"; see `share_within`. From 0 to 1.

    Args:
        feature_extractor: as `FrechetDistance` takes it.
        neighbours: k, 3 in the paper.
        name: name of the metric.

    Raises:
        ValueError: from `result`, for a set of no more than `neighbours` images.

    Example:
        ```python
        rng = np.random.default_rng(0)
        precision = keras_regvq.metrics.ManifoldPrecision()  # takes features (B, F)
        precision.update_state(y_true=rng.normal(size=(50, 8)))
        precision.update_state(y_pred=0.1 * rng.normal(size=(50, 8)))  # all alike
        float(precision.result())  # 1.0
        ```
    """

    def __init__(self, feature_extractor=None, neighbours=3, name="precision", dtype="float32"):
        super().__init__(feature_extractor, neighbours, name=name, dtype=dtype)

    def result(self):
        real, generated = self.features("y_true"), self.features("y_pred")
        return ops.cast(share_within(generated, real, self.neighbours), self.dtype)


@keras.saving.register_keras_serializable(package="keras_regvq")
class ManifoldRecall(_ManifoldOverlap):
    """Share of the real images that look like some generated one: the generator's variety.

    See `ManifoldPrecision`, with the two sets exchanged.

    Example:
        ```python
        rng = np.random.default_rng(0)
        recall = keras_regvq.metrics.ManifoldRecall()  # takes features (B, F)
        recall.update_state(y_true=rng.normal(size=(50, 8)))
        recall.update_state(y_pred=0.1 * rng.normal(size=(50, 8)))  # all alike
        float(recall.result())  # 0.0
        ```
    """

    def __init__(self, feature_extractor=None, neighbours=3, name="recall", dtype="float32"):
        super().__init__(feature_extractor, neighbours, name=name, dtype=dtype)

    def result(self):
        real, generated = self.features("y_true"), self.features("y_pred")
        return ops.cast(share_within(real, generated, self.neighbours), self.dtype)

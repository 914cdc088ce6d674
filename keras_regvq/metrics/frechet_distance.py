"""Frechet distance of two sets of images."""

import keras
import numpy as np
from keras import ops

from keras_regvq.metrics.image_features import ImageFeatures


def squared_frechet_distance(real, generated):
    """Squared Frechet distance of the normal distributions with the sets' moments.

        |m_r - m_g|^2 + tr(S_r) + tr(S_g) - 2 tr((S_r S_g)^1/2)

    Dowson and Landau 1982; S are the unbiased covariances. With S = R^T R of each, from the QR
    factors of the centred features, the last trace is the sum of the singular values of R_r R_g^T.
    So no root of a matrix is taken, which fails on singular covariances, as they are wherever there
    are fewer images than features; and nothing is ever complex or negative.

    Args:
        real, generated: float64 (N, F) and (M, F), N and M at least 2.

    Returns:
        float, at least 0 but for rounding errors.
    """
    (mean_r, factor_r), (mean_g, factor_g) = map(_moments, (real, generated))
    roots = np.linalg.svd(factor_r @ factor_g.T, compute_uv=False).sum()
    squares = [np.square(value).sum() for value in (mean_r - mean_g, factor_r, factor_g)]
    return float(sum(squares) - 2 * roots)


def _moments(features):
    mean = features.mean(axis=0)
    centred = (features - mean) / np.sqrt(len(features) - 1)
    return mean, np.linalg.qr(centred, mode="r")


@keras.saving.register_keras_serializable(package="keras_regvq")
class FrechetDistance(ImageFeatures):
    """Frechet distance of Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule".

    The formula is in `squared_frechet_distance`; lower is better. With the pool features of the
    TensorFlow Inception network it is FID; with those of another network it is another number, to
    be compared with its like only. Few images make it larger: compare equal numbers of them.

    Args:
        feature_extractor: a keras model or another function of images, float32 (B, H, W, 3) in
            [0, 1], to features (B, F) or (B, h, w, F), or a list that ends in these; None:
            `update_state` takes features. See `ImageFeatures`, also for what memory it takes.
        name: name of the metric.

    Raises:
        ValueError: from `result`, for less than two real or generated images; from
            `update_state`, see there. Inside a compiled function it is refused.

    Example:
        ```python
        network = keras_regvq.models.EfficientNetLite0Features(
            weights=None, layer_names=("head",)  # random weights; "imagenet" for real use
        )
        distance = keras_regvq.metrics.FrechetDistance(network)
        tokenizer = keras_regvq.from_preset("regvq_scenes_64")
        distance.update_state(y_true=images, y_pred=tokenizer.reconstruct(images))
        float(distance.result())  # lower is better
        ```
    """

    def __init__(self, feature_extractor=None, name="frechet_distance", dtype="float32"):
        super().__init__(feature_extractor, name=name, dtype=dtype)

    def result(self):
        real, generated = self.features("y_true"), self.features("y_pred")
        return ops.cast(squared_frechet_distance(real, generated), self.dtype)

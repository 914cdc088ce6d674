"""Inception Score: do generated images look like something, and like many things?"""

import keras
import numpy as np
from keras import ops

from keras_regvq.metrics.image_features import ImageFeatures


def inception_score(logits):
    """exp(mean over images of KL(p(class | image) || p(class))), Salimans et al. 2016.

    Args:
        logits: float64 (N, classes).

    Returns:
        float from 1 to the number of classes.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    marginal = p.mean(axis=0)
    # Where the mean is 0 every p is 0, and 0 log 0 = 0.
    log_marginal = np.log(np.where(marginal == 0, 1.0, marginal))
    return float(np.exp(np.where(p == 0, 0.0, p * (log_p - log_marginal)).sum(axis=1).mean()))


@keras.saving.register_keras_serializable(package="keras_regvq")
class InceptionScore(ImageFeatures):
    """Inception Score of the generated images, `y_pred`; higher is better. Real ones are unused.

    Over all images at once: published numbers are often means over ten parts, which are lower.

    Args:
        classifier: a keras model or another function of images, float32 (B, H, W, 3) in [0, 1], to
            the logits (B, classes) of a classifier; None: `update_state` takes logits.
        name: name of the metric.

    Raises:
        ValueError: from `result`, for less than two generated images; from `update_state`, see
            `ImageFeatures`.

    Example:
        ```python
        logits = 3.0 * keras.random.normal((100, 10), seed=0)  # a classifier's, of 100 images
        score = keras_regvq.metrics.InceptionScore()  # or InceptionScore(classifier), for images
        score.update_state(y_pred=logits)
        float(score.result())  # from 1 to 10, the number of classes
        ```
    """

    def __init__(self, classifier=None, name="inception_score", dtype="float32"):
        super().__init__(classifier, name=name, dtype=dtype)

    def result(self):
        return ops.cast(inception_score(self.features("y_pred")), self.dtype)

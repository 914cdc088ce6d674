"""Kernel distance of two sets of images."""

import keras
from keras import ops

from keras_regvq.metrics.image_features import ImageFeatures

_BLOCK = 1024  # rows and columns of the kernel matrix at a time: 8 MiB


def squared_maximum_mean_discrepancy(real, generated):
    """Unbiased MMD^2 of Gretton et al. 2012, equation 3, under a cubic kernel.

        k(x, y) = (x.y / F + 1)^3
        mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)

    Args:
        real, generated: float64 (N, F) and (M, F), N and M at least 2.

    Returns:
        float. It takes F (N + M)^2 multiplications, and memory for a block of the matrix.
    """
    n, m = len(real), len(generated)
    within_real = (_kernel_sum(real, real) - _kernel_trace(real)) / (n * (n - 1))
    within_generated = (_kernel_sum(generated, generated) - _kernel_trace(generated)) / (
        m * (m - 1)
    )
    return float(within_real + within_generated - 2 * _kernel_sum(real, generated) / (n * m))


def _kernel_sum(x, y):
    total = 0.0
    for i in range(0, len(x), _BLOCK):
        for j in range(0, len(y), _BLOCK):
            kernel = x[i : i + _BLOCK] @ y[j : j + _BLOCK].T / x.shape[1] + 1
            total += (kernel * kernel * kernel).sum()
    return total


def _kernel_trace(x):
    return (((x * x).mean(axis=1) + 1) ** 3).sum()


@keras.saving.register_keras_serializable(package="keras_regvq")
class KernelDistance(ImageFeatures):
    """Kernel distance of Binkowski et al. 2018, "Demystifying MMD GANs": lower is better.

    The formula is in `squared_maximum_mean_discrepancy`. With features of Inception it is KID;
    with those of another network it is another number, to be compared with its like only. Its
    expectation is that of infinitely many images for any number of them, unlike the Frechet
    distance's; so it can be a little below 0. All pairs count: no subsets are drawn.

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
        distance = keras_regvq.metrics.KernelDistance(network)
        distance.update_state(y_true=images)  # as often as there are batches
        distance.update_state(y_pred=255 - images)
        float(distance.result())  # lower is better
        ```
    """

    def __init__(self, feature_extractor=None, name="kernel_distance", dtype="float32"):
        super().__init__(feature_extractor, name=name, dtype=dtype)

    def result(self):
        real, generated = self.features("y_true"), self.features("y_pred")
        return ops.cast(squared_maximum_mean_discrepancy(real, generated), self.dtype)

"""Structural similarity."""

import math

import keras
from keras import ops

from keras_regvq.checks.arguments import refuse
from keras_regvq.metrics.image_pairs import check_max_value, unit_image_pair

WINDOW_SIZE, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03


def structural_similarity(y_true, y_pred, max_value=1.0):
    """SSIM of each image, Wang, Bovik, Sheikh and Simoncelli 2004, equations 13 to 16.

        ((2 m_x m_y + C1) (2 s_xy + C2)) / ((m_x^2 + m_y^2 + C1) (s_x^2 + s_y^2 + C2))

    with means m, variances s^2 and the covariance s_xy under an 11x11 Gaussian window of
    sigma 1.5, C1 = (0.01 L)^2, C2 = (0.03 L)^2, L the range of the values; averaged over the
    channels and over the places where the window fits into the image. Equal to scikit-image's
    `structural_similarity` with gaussian_weights and without use_sample_covariance.

    Args:
        y_true, y_pred: (B, H, W, C), uint8 or float in [0, max_value]; H and W at least 11.

    Returns:
        (B,), float32, at most 1.

    Raises:
        ValueError: for images smaller than the window; see also `unit_image_pair`.
    """
    x, y = unit_image_pair(y_true, y_pred, max_value)
    if any(side is not None and side < WINDOW_SIZE for side in x.shape[1:3]):
        refuse("y_true", f"shape {tuple(x.shape)}", f"H and W of at least {WINDOW_SIZE}")
    moments = ops.concatenate([x, y, x * x, y * y, x * y], axis=-1)
    mean_x, mean_y, square_x, square_y, product = ops.split(_gaussian_mean(moments), 5, axis=-1)
    variances = square_x - mean_x * mean_x + square_y - mean_y * mean_y
    covariance = product - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + K1**2) / (mean_x * mean_x + mean_y * mean_y + K1**2)
    contrast_structure = (2 * covariance + K2**2) / (variances + K2**2)
    return ops.mean(luminance * contrast_structure, axis=(1, 2, 3))


def _gaussian_mean(images):
    """Weighted mean under the window, where it fits: (B, H, W, C) -> (B, H - 10, W - 10, C).

    Shifted sums and not a convolution, since GPUs convolve float32 images in TF32 by default: its
    ten bits of mantissa are as coarse as C2 = 9e-4, which the variance of flat areas is held to.
    """
    offsets = range(WINDOW_SIZE)
    window = [math.exp(-0.5 * ((i - WINDOW_SIZE // 2) / SIGMA) ** 2) for i in offsets]
    window = [weight / sum(window) for weight in window]
    ends = [i - offsets[-1] or None for i in offsets]
    images = sum(window[i] * images[:, i : ends[i]] for i in offsets)
    return sum(window[i] * images[:, :, i : ends[i]] for i in offsets)


@keras.saving.register_keras_serializable(package="keras_regvq")
class SSIM(keras.metrics.Mean):
    """Mean over images of each image's structural similarity; 1 for identical images.

    The formula, and the check against other implementations, is in `structural_similarity`.

    Args:
        max_value: the largest value of float images; uint8 images are always 0 to 255.
        name: name of the metric.

    Raises:
        ValueError: from `update_state`, for images of another rank, dtype or range, of unequal
            shapes, or smaller than 11 pixels. In a compiled function a wrong range gives NaN
            instead.

    Example:
        ```python
        tokenizer = keras_regvq.from_preset("regvq_scenes_64")
        ssim = keras_regvq.metrics.SSIM()
        ssim.update_state(images, tokenizer.reconstruct(images))
        float(ssim.result())  # 0.90
        ```
    """

    def __init__(self, max_value=1.0, name="ssim", dtype="float32"):
        super().__init__(name=name, dtype=dtype)
        self.max_value = check_max_value(max_value)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add images (B, H, W, C); `sample_weight` (B,) weighs them."""
        values = structural_similarity(y_true, y_pred, self.max_value)
        super().update_state(values, sample_weight)

    def get_config(self):
        return {**super().get_config(), "max_value": self.max_value}

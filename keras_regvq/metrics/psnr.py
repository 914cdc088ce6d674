"""Peak signal-to-noise ratio."""

import keras
from keras import ops

from keras_regvq.metrics.image_pairs import check_max_value, unit_image_pair


def peak_signal_to_noise_ratio(y_true, y_pred, max_value=1.0):
    """PSNR of each image: 10 log10(max_value^2 / MSE), in dB; 100 dB where images are identical.

    Args:
        y_true, y_pred: (B, H, W, C), uint8 or float in [0, max_value].

    Returns:
        (B,), float32.

    Raises:
        ValueError: see `unit_image_pair`.
    """
    y_true, y_pred = unit_image_pair(y_true, y_pred, max_value)
    squared_error = ops.mean(ops.square(y_true - y_pred), axis=(1, 2, 3))
    return -10.0 * ops.log10(ops.maximum(squared_error, 1e-10))


@keras.saving.register_keras_serializable(package="keras_regvq")
class PSNR(keras.metrics.Mean):
    """Mean over images of each image's peak signal-to-noise ratio, in dB: higher is better.

    Not the PSNR of the mean error, which the worst images rule. Identical images count as
    100 dB, so that one of them does not make the mean infinite.

    Args:
        max_value: the largest value of float images; uint8 images are always 0 to 255.
        name: name of the metric.

    Raises:
        ValueError: from `update_state`, for images of another rank, dtype or range, or of
            unequal shapes. In a compiled function a wrong range gives NaN instead.

    Example:
        ```python
        tokenizer = keras_regvq.from_preset("regvq_scenes_64")
        psnr = keras_regvq.metrics.PSNR()
        psnr.update_state(images, tokenizer.reconstruct(images))
        float(psnr.result())  # 29.3
        ```
    """

    def __init__(self, max_value=1.0, name="psnr", dtype="float32"):
        super().__init__(name=name, dtype=dtype)
        self.max_value = check_max_value(max_value)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add images (B, H, W, C); `sample_weight` (B,) weighs them."""
        values = peak_signal_to_noise_ratio(y_true, y_pred, self.max_value)
        self.update_values(values, sample_weight)

    def update_values(self, values, sample_weight=None):
        """Add what `peak_signal_to_noise_ratio` gave, (B,)."""
        super().update_state(values, sample_weight)

    def get_config(self):
        return {**super().get_config(), "max_value": self.max_value}

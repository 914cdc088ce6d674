"""What the metrics that compare two images accept."""

import keras
from keras import ops

from keras_regvq.checks.arguments import check_number, refuse
from keras_regvq.checks.arrays import describe


def check_max_value(max_value):
    """Return `max_value` as a float; it must be a positive number."""
    max_value = check_number("max_value", max_value)
    if max_value == 0:
        refuse("max_value", "0", "a positive number")
    return max_value


def unit_image_pair(y_true, y_pred, max_value):
    """Check two batches of images and bring both to float32 in [0, 1].

    Images in another range than the metric was told of give plausible, wrong numbers. Eagerly
    they are a ValueError. Inside a compiled function a value cannot stop anything: there the
    whole batch becomes NaN, and with it the metric, until it is reset.

    Args:
        y_true, y_pred: (B, H, W, C), uint8 or float in [0, max_value].
        max_value: the largest value of float images; uint8 is always 0 to 255.

    Returns:
        two float32 tensors (B, H, W, C).

    Raises:
        ValueError: for another rank or dtype, shapes that differ, or values out of range.
    """
    y_true = _unit_images("y_true", y_true, max_value)
    y_pred = _unit_images("y_pred", y_pred, max_value)
    sides = zip(y_true.shape, y_pred.shape, strict=True)
    if any(a != b for a, b in sides if a is not None and b is not None):
        refuse("y_pred", f"shape {tuple(y_pred.shape)}", f"that of y_true, {tuple(y_true.shape)}")
    return y_true, y_pred


def _unit_images(argument, images, max_value):
    images = ops.convert_to_tensor(images)
    dtype = keras.backend.standardize_dtype(images.dtype)
    floats = keras.backend.is_float_dtype(dtype)
    if len(images.shape) != 4 or not (dtype == "uint8" or floats):
        expected = f"images of shape (B, H, W, C), uint8 or float in [0, {max_value:g}]"
        refuse(argument, describe(images), expected)
    if not floats:
        return ops.cast(images, "float32") / 255.0
    images = ops.cast(images, "float32") / max_value
    # Resizing overshoots by rounding errors; a [-1, 1] or [0, 255] picture is far outside.
    inside = ops.all(ops.logical_and(images >= -1e-3, images <= 1 + 1e-3))
    if _known_false(inside):
        low, high = float(ops.min(images)) * max_value, float(ops.max(images)) * max_value
        received = f"float values from {low:.4g} to {high:.4g}"
        refuse(argument, received, f"uint8 values, or floats in [0, {max_value:g}]")
    return ops.where(inside, images, float("nan"))


def _known_false(condition):
    """True if the condition has a value already, and that is False."""
    try:
        return not bool(condition)
    except TypeError:  # JAX and TensorFlow raise one for a value that a trace does not know yet
        return False

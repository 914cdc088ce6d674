"""Checks of images, tokens and masks: arrays and tensors, looked at through keras."""

import keras
import numpy as np

from keras_regvq.checks.arguments import refuse

IMAGE_CHANNELS = (1, 3, 4)  # grey, RGB, RGB and opacity


def describe(value):
    """Say in a few words what `value` is: its shape and dtype if it has them."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {tuple(value.shape)} and dtype {_dtype_name(value)}"
    return f"{value!r} of type {type(value).__name__}"


def _dtype_name(array):
    """An array's dtype in Keras's words, or in NumPy's: Keras raises on objects and strings."""
    try:
        return keras.backend.standardize_dtype(array.dtype)
    except ValueError:
        return str(array.dtype)


def check_image_shape_and_dtype(argument, images, factor=1, channels=3):
    """Check what is known of images without looking at their values.

    Args:
        argument: name to put in the error.
        images: array or tensor, (B, H, W, channels).
        factor: what H and W must be multiples of.
        channels: how many there must be; None: one of `IMAGE_CHANNELS`.
    """
    wanted = IMAGE_CHANNELS if channels is None else (channels,)
    numbers = " or ".join(map(str, wanted))
    expected = f"images of shape (B, H, W, {numbers}), uint8 or float in [0, 1]"
    if not hasattr(images, "shape") or not hasattr(images, "dtype"):
        refuse(argument, describe(images), expected)
    shape, dtype = tuple(images.shape), _dtype_name(images)
    if len(shape) != 4 or shape[-1] not in wanted or 0 in shape:
        refuse(argument, describe(images), expected)
    if dtype != "uint8" and not dtype.startswith(("float", "bfloat")):
        refuse(argument, describe(images), expected)
    if any(side is not None and side % factor for side in shape[1:3]):
        refuse(argument, describe(images), f"{expected}, with H and W multiples of {factor}")


def as_array(argument, values):
    """A list of equal shapes as a NumPy array; what is an array or a tensor as it is."""
    if hasattr(values, "shape"):
        return values
    try:
        return np.asarray(values)
    except ValueError:
        refuse(argument, "a list of unequal shapes", "an array, or a list of equal shapes")


def check_images(argument, images, factor=1, channels=3):
    """Check concrete images and return them as a NumPy array: uint8, or float in [0, 1].

    Raises:
        ValueError: for a wrong rank, channel count, dtype, size or value range.
    """
    images = as_array(argument, images)
    check_image_shape_and_dtype(argument, images, factor, channels)
    images = keras.ops.convert_to_numpy(images)
    if images.dtype != np.uint8:
        images = images.astype("float32")
        low, high = float(images.min()), float(images.max())
        # Resizing overshoots by rounding errors; a [-1, 1] or [0, 255] picture is far outside.
        if not (low >= -1e-3 and high <= 1 + 1e-3):
            finite = np.isfinite(low) and np.isfinite(high)
            received = f"float values from {low:.4g} to {high:.4g}"
            refuse(
                argument,
                received if finite else "values that are NaN or infinite",
                "uint8 values, or floats in [0, 1]",
            )
    return images


def check_tokens(argument, tokens, codebook_size, shape="(B, h, w)", what="tokens"):
    """Check concrete tokens and return them as an int32 NumPy array.

    Args:
        argument, what: how to call them in the error.
        tokens: integers in [0, codebook_size).
        shape: their shape in words, which says their rank.

    Raises:
        ValueError: for a wrong rank, a dtype that is not integer, or a token outside the codebook.
    """
    expected = f"integer {what} {shape} in [0, {codebook_size - 1}]"
    rank = len(shape.strip("(,)").split(","))
    tokens = as_array(argument, tokens)
    if len(tokens.shape) != rank or 0 in tuple(tokens.shape):
        refuse(argument, describe(tokens), expected)
    if not _dtype_name(tokens).startswith(("int", "uint")):
        refuse(argument, describe(tokens), expected)
    tokens = keras.ops.convert_to_numpy(tokens)
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= codebook_size:
        refuse(argument, f"{what} from {low} to {high}", expected)
    return tokens.astype("int32")


def check_lengths(argument, inputs):
    """Refuse a dict of arrays of which some have more examples than others."""
    lengths = {name: len(values) for name, values in inputs.items()}
    if len(set(lengths.values())) > 1:
        refuse(argument, f"a batch of {lengths} examples", "arrays of equal length")


def check_mask(argument, mask, shape):
    """Return `mask` as a bool NumPy array of the given shape; zeros and ones will do."""
    mask = np.asarray(keras.ops.convert_to_numpy(mask))
    if mask.shape != tuple(shape) or not np.isin(mask, (0, 1)).all():
        refuse(argument, describe(mask), f"booleans of shape {tuple(shape)}")
    return mask.astype(bool)


def unit_float(images):
    """Convert uint8 images to floats in [0, 1]; floats pass through. Works inside a graph."""
    images = keras.ops.convert_to_tensor(images)
    if keras.backend.standardize_dtype(images.dtype) == "uint8":
        return keras.ops.cast(images, "float32") / 255.0
    return images


def rgb(images):
    """What networks that know RGB see: grey three times, and RGB without its opacity."""
    if images.shape[-1] == 1:
        return keras.ops.repeat(images, 3, axis=-1)
    return images[..., :3]

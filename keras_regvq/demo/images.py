"""Pictures between the page and the models: PNG, base64, and beside them WebP."""

import base64
import io

import numpy as np
from PIL import Image

from keras_regvq.checks.arguments import refuse
from keras_regvq.data.decoding import fit_image, read_image
from keras_regvq.data.image_files import EncodedPicture

MOST_BYTES = 16 * 2**20
"""Of a picture that is dropped."""


def data_url(pixels, scale=1):
    """A picture, uint8 (H, W, 3) or float in [0, 1], as a text that a page shows as PNG."""
    file = io.BytesIO()
    image = Image.fromarray(as_bytes(pixels))
    if scale > 1:
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def as_bytes(pixels):
    """Pixels as uint8, from floats in [0, 1] or as they are."""
    if pixels.dtype == np.uint8:
        return pixels
    return np.round(np.clip(pixels, 0.0, 1.0) * 255.0).astype("uint8")


def read_picture(data, height, width, channels):
    """A picture file's bytes as uint8 (height, width, channels), scaled and cropped.

    Raises:
        ValueError: for what is no picture.
    """
    if not data:
        refuse("picture", "nothing", "a picture file")
    size = max(height, width)
    return fit_image(read_image(EncodedPicture("This file", data), size, channels), height, width)


def decibels(original, other):
    """Peak signal-to-noise ratio of two pictures of bytes, in dB."""
    error = np.mean((original.astype("float64") - other) ** 2)
    return float(10.0 * np.log10(255.0**2 / max(error, 1e-5)))


def webp_at(image, most):
    """An image, uint8 (H, W, 3), as the best WebP whose file has at most `most` bytes.

    Returns:
        the decoded image, and its file's size: that of quality 0, if even this has more bytes.
    """
    low, high, best = 0, 100, _webp(image, 0)
    while low < high:
        middle = (low + high + 1) // 2
        trial = _webp(image, middle)
        if len(trial) <= most:
            low, best = middle, trial
        else:
            high = middle - 1
    with Image.open(io.BytesIO(best)) as picture:
        return np.asarray(picture.convert("RGB")), len(best)


def _webp(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "WEBP", quality=quality, method=6)
    return file.getvalue()

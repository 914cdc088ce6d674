"""From picture files to uint8 RGB squares and integer label maps."""

import numpy as np
from PIL import Image, ImageOps

from keras_regvq.data.image_files import open_picture

_LABEL_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
_EXIF_ORIENTATION = 0x0112


def shown_size(image):
    """(width, height) of an opened Pillow image as it is meant to be seen, without decoding it."""
    if image.format == "PNG" and "exif" not in image.info:
        return image.size  # asking a PNG for its EXIF data would decode it
    turned = image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
    return image.size[::-1] if turned else image.size


def is_label_map(image):
    """Whether an opened Pillow image has one channel of integers (or palette indices)."""
    return image.mode in _LABEL_MODES


def read_image(path, size=None):
    """Decodes a picture file of any mode to uint8 (H, W, 3).

    What is transparent becomes white, 16 bits become 8, and the EXIF orientation is applied.
    `size`, the side wanted later, lets big JPEGs be decoded at a fraction of their size.
    """
    with open_picture(path) as image:
        if size is not None:
            image.draft(None, (2 * size, 2 * size))
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))


def read_labels(path):
    """Decodes a label map to int32 (H, W); a palette picture gives its indices, not its colours."""
    with open_picture(path) as image:
        image.load()
        return np.asarray(image).astype(np.int32)


def fit_image(image, height, width):
    """Scales uint8 (H, W, 3) to cover (height, width), anti-aliased, and crops the centre."""
    if image.shape[:2] == (height, width):
        return image
    left, top, right, bottom = _centre(image.shape[0], image.shape[1], height, width)
    resized = Image.fromarray(image).resize(
        (width, height), Image.Resampling.BICUBIC, box=(left, top, right, bottom)
    )
    return np.asarray(resized)


def fit_labels(labels, height, width):
    """The same geometry as `fit_image` for integers (H, W), by the nearest label."""
    if labels.shape == (height, width):
        return labels
    left, top, right, bottom = _centre(labels.shape[0], labels.shape[1], height, width)
    rows = top + (np.arange(height) + 0.5) * (bottom - top) / height
    columns = left + (np.arange(width) + 0.5) * (right - left) / width
    return labels[np.ix_(rows.astype(int), columns.astype(int))]


def to_uint8(image):
    """uint8 (H, W, 3) from uint8, uint16 or float in [0, 1], with one or three channels."""
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    elif image.dtype != np.uint8:
        image = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image


def _centre(image_height, image_width, height, width):
    """The largest centred box (left, top, right, bottom) of the aspect ratio of (height, width)."""
    scale = min(image_height / height, image_width / width)
    box_height, box_width = scale * height, scale * width
    left, top = (image_width - box_width) / 2, (image_height - box_height) / 2
    return left, top, left + box_width, top + box_height


def _to_rgb(image):
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        largest = 255 if values.max() <= 255 and image.mode == "I" else 65535
        if image.mode == "F":
            largest = 1 if values.max() <= 1 else 255
        return to_uint8((values / largest)[:, :, None])
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))

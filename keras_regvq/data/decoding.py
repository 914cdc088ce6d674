"""From picture files and arrays to uint8 pictures of one size, and label maps alike."""

import numpy as np
from PIL import Image

from keras_regvq.data.image_files import MAX_PIXELS, open_picture

_EXIF_ORIENTATION, _TIFF_WIDTH, _TIFF_HEIGHT = 0x0112, 0x0100, 0x0101
_TURNS = {  # views of (H, W, C), by the EXIF orientation
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}
# In pixels: larger pictures are converted in bands, and averaged to fewer pixels first, both to
# save memory. Bands are of so many rows that any power of two up to `_MOST_SHRINKING` divides them.
_BAND, _LARGE, _MOST_SHRINKING = 2**22, 2**24, 64
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def shown_size(image):
    """(width, height) of an opened Pillow image as it is meant to be seen, without decoding it."""
    if image.format == "PNG" and "exif" not in image.info:
        return image.size  # asking a PNG for its EXIF data would decode it
    turned = image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
    size = image.size
    if image.format == "TIFF":  # of which Pillow may have turned the size, but not the tags
        size = image.tag_v2[_TIFF_WIDTH], image.tag_v2[_TIFF_HEIGHT]
    return size[::-1] if turned else size


def read_image(path, size=None, channels=3, max_pixels=MAX_PIXELS):
    """Decodes a picture file of any mode to uint8 (H, W, channels).

    One channel is the luminance. With 4 channels what is transparent stays so, otherwise it becomes
    white. 16 bits become 8, and the EXIF orientation is applied. `size`, the longer side wanted
    later, lets big pictures be decoded or averaged at a fraction of their size.
    """
    with open_picture(path, max_pixels) as image:
        if size is not None:
            image.draft(None, (2 * size, 2 * size))
        image.load()
        shrink = 1
        if size is not None and image.width * image.height > _LARGE:
            while shrink < _MOST_SHRINKING and min(image.size) >= 8 * size * shrink:
                shrink *= 2
        white = _white(image)
        pixels = np.concatenate([_convert(b, white, channels, shrink) for b in bands(image)])
        turn = _TURNS.get(image.getexif().get(_EXIF_ORIENTATION))
        return pixels if turn is None else turn(pixels)


def bands(image):
    """Yields a decoded Pillow image in bands from top to bottom: in one if it is small."""
    rows = image.height
    if image.width * rows > _BAND:
        rows = max(1, _BAND // image.width // _MOST_SHRINKING) * _MOST_SHRINKING
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        yield image if rows == image.height else image.crop((0, top, image.width, bottom))


def fit_image(image, height, width):
    """Scales uint8 (H, W, C) to cover (height, width), anti-aliased, and crops the centre."""
    if image.shape[:2] == (height, width):
        return image
    box = _centre(image.shape[0], image.shape[1], height, width)
    resized = _to_pillow(image).resize((width, height), Image.Resampling.BICUBIC, box=box)
    return _to_array(resized)


def fit_labels(labels, height, width):
    """The same geometry as `fit_image` for integers (H, W), by the nearest label."""
    if labels.shape == (height, width):
        return labels
    return labels[np.ix_(*nearest_pixels(*labels.shape, height, width))]


def nearest_pixels(image_height, image_width, height, width):
    """Rows (height,) and columns (width,) of an image that `fit_labels` keeps."""
    left, top, right, bottom = _centre(image_height, image_width, height, width)
    rows = top + (np.arange(height) + 0.5) * (bottom - top) / height
    columns = left + (np.arange(width) + 0.5) * (right - left) / width
    return rows.astype(int), columns.astype(int)


def squeeze_image(image, height, width):
    """Scales uint8 (H, W, C) to (height, width), each side by itself: nothing is cropped."""
    if image.shape[:2] == (height, width):
        return image
    return _to_array(_to_pillow(image).resize((width, height), Image.Resampling.BICUBIC))


def squeeze_labels(labels, height, width):
    """The same geometry as `squeeze_image` for integers (H, W), by the nearest label."""
    rows = (np.arange(height) + 0.5) * labels.shape[0] / height
    columns = (np.arange(width) + 0.5) * labels.shape[1] / width
    return labels[np.ix_(rows.astype(int), columns.astype(int))]


def to_uint8(image, channels=3):
    """uint8 (H, W, channels) from uint8, uint16 or float in [0, 1] with 1, 3 or 4 channels."""
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    elif image.dtype != np.uint8:
        image = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    if image.shape[-1] == channels:
        return image
    return _to_array(_in_mode(_to_pillow(image), channels))


def _centre(image_height, image_width, height, width):
    """The largest centred box (left, top, right, bottom) of the aspect ratio of (height, width)."""
    scale = min(image_height / height, image_width / width)
    box_height, box_width = scale * height, scale * width
    left, top = (image_width - box_width) / 2, (image_height - box_height) / 2
    return left, top, left + box_width, top + box_height


def _to_pillow(pixels):
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _to_array(picture):
    pixels = np.asarray(picture)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _convert(band, white, channels, shrink):
    """uint8 (H, W, channels) of a band, averaged over squares of `shrink` pixels."""
    if white is not None:
        values = np.nan_to_num(np.asarray(band).astype(np.float32))
        band = _to_pillow(to_uint8((values / white)[:, :, None], 1))
    picture = _in_mode(band, channels)
    return _to_array(picture.reduce(shrink) if shrink > 1 else picture)


def _white(image):
    """The value of white in a whole Pillow image of integers or floats, None in any other."""
    scaled = image.mode == "I" and image.format in ("PPM", "PNG")  # by Pillow, to 0 to 65535
    if image.mode not in ("F", "I") or scaled:
        return 65535 if image.mode.startswith("I") else None
    low = high = 0
    for band in bands(image):
        values = np.asarray(band)
        finite = np.isfinite(values)
        low = min(low, values.min(initial=0, where=finite))
        high = max(high, values.max(initial=0, where=finite))
    whites = (1, 255, 65535) if image.mode == "F" else (255, 65535)
    white = next((white for white in whites if high <= white * 1.001), None)
    if white is None or low < -0.001 * white:
        raise ValueError(f"values from {low:.4g} to {high:.4g} are none of 0 to 1, 255 or 65535")
    return white


def _in_mode(image, channels):
    clear = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if clear and channels < 4:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image if image.mode == _MODES[channels] else image.convert(_MODES[channels])

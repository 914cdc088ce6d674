"""Opening picture files that nobody has looked at: the only place that hands a file to Pillow."""

import contextlib
import io
import os
from dataclasses import dataclass

from PIL import Image

from keras_regvq.files.regular_files import open_regular, shown_name

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "HEIF")
"""Pillow's names of what is opened. Pillow goes by a file's content and not by its name, and knows
kinds that run programs (EPS starts Ghostscript) or few have looked at: those are left out. HEIF
needs a plug-in."""

MAX_PIXELS = 2**27
"""Pictures of more pixels are refused before they are decoded, which takes 4 bytes a pixel."""

# Memory that decoding takes, per pixel, in that of a PNG or a plain JPEG: measured.
_COSTS = {"WEBP": 4, "AVIF": 2.5, "HEIF": 2.5, "JPEG2000": 5, "TIFF": 1.75}
_COST_OF_PROGRESSIVE = 1.2
# Between a picture's name and what is wrong with it.
UNREADABLE = " cannot be read as a picture: "


@dataclass(frozen=True)
class EncodedPicture:
    """A picture file's bytes, out of an archive, wherever a path is taken; `name` is for errors."""

    name: str
    data: bytes

    def __fspath__(self):
        return self.name


class TooManyPixelsError(ValueError):
    """A picture has more pixels than is allowed."""


@contextlib.contextmanager
def open_picture(path, max_pixels=MAX_PIXELS):
    """Give the opened Pillow image of a picture file, whose pixels are not decoded yet.

    Only regular files of `FORMATS` are opened. What decoding the image in the body raises becomes
    an error that names the file.

    Args:
        path: the file, or an `EncodedPicture`.
        max_pixels: a picture of more pixels is refused. For formats whose decoders keep several
            copies it is a part of this: a fifth for JPEG 2000, a quarter for WebP.

    Raises:
        OSError: naming the file, if it cannot be opened or is no regular file.
        ValueError: naming the file, if it is no picture, a damaged one, or one that is too large.
    """
    name = shown_name(path)
    try:
        with _open(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if size > max(4 * max_pixels, 2**24):
                raise ValueError(f"{size} bytes are too many for max_pixels={max_pixels}")
            with Image.open(file, formats=_formats()) as image:
                _check_pixels(image, max_pixels)
                yield image
    except OSError as error:
        if error.filename is not None:
            raise
        raise ValueError(_message(name, error)) from error
    except Exception as error:  # a decoder raises whatever a damaged file makes it raise
        if isinstance(error, ValueError) and name in str(error):
            raise
        if isinstance(error, (TooManyPixelsError, Image.DecompressionBombError)):
            raise TooManyPixelsError(_message(name, error)) from error
        raise ValueError(_message(name, error)) from error


def _open(path):
    return io.BytesIO(path.data) if isinstance(path, EncodedPicture) else open_regular(path)


def _formats():
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _check_pixels(image, max_pixels):
    width, height = image.size
    cost = _COSTS.get(image.format, 1)
    if "progressive" in image.info:
        cost = _COST_OF_PROGRESSIVE * max(1, len(image.getbands()) / 3)
    if width * height * cost > max_pixels:
        limit = int(max_pixels / cost)
        raise TooManyPixelsError(
            f"{width} x {height} pixels are too many; max_pixels={max_pixels} allows {limit} of "
            f"{image.format}"
        )


def _message(name, error):
    if "cannot identify image file" in str(error):
        return f"{name} is not an image in a supported format: {', '.join(FORMATS)}."
    return f"{name}{UNREADABLE}{str(error) or type(error).__name__}."

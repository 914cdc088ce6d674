"""From files of label maps to integers: one channel of ids, or the colours of a palette."""

import json
import re

import numpy as np

from keras_regvq.checks.arguments import refuse
from keras_regvq.data.decoding import bands, nearest_pixels
from keras_regvq.data.image_files import MAX_PIXELS, open_picture
from keras_regvq.data.procedural.scenes import SCENE_PALETTE
from keras_regvq.files.regular_files import open_regular, shown_name

_ID_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX")
# Pillow spreads grey of 2 and 4 bits over 0 to 255: good for pictures, wrong for ids.
_SPREAD = {"L;2": 85, "L;4": 17}
_MOST_BYTES = 2**20  # of a file of colours


class UnknownLabelError(ValueError):
    """A label map has a label or colour that its data set does not have, `label` in words."""

    def __init__(self, name, label):
        self.label = label
        super().__init__(f"{name} with {label}")


def is_label_map(image, palette=None):
    """Whether an opened Pillow image holds ids, or colours where there is a palette for them."""
    return image.mode in _ID_MODES or (palette is not None and image.mode in _COLOUR_MODES)


def read_labels(path, size=None, classes=None, palette=None, max_pixels=MAX_PIXELS):
    """Decodes a label map to int32 (H, W).

    A palette picture (indexed PNG) gives its indices; but if there is a `palette` and most of the
    colours in use are of it, the colours count, since editors order their palettes as they like.

    Args:
        path: the file.
        size: (height, width) that it is brought to by the nearest label, cropped to the centre;
            None: as it is.
        classes: how many labels there are, or None.
        palette: uint8 (K, 3), a colour for each label, or None.

    Raises:
        UnknownLabelError: naming the file, and for a colour its row and column.
        OSError, ValueError: as `open_picture`, or for what is no label map.
    """
    name = shown_name(path)
    with open_picture(path, max_pixels) as image:
        spread = _spread(image)
        image.load()
        if not is_label_map(image, palette):
            raise ValueError(f"{name} is no label map: its pixels are {image.mode}, not ids")
        as_colours = palette is not None and _has_colours_of(image, palette)
        rows, columns = np.arange(image.height), np.arange(image.width)
        if size is not None and size != (image.height, image.width):
            rows, columns = nearest_pixels(image.height, image.width, *size)
        kept, top = [], 0
        for band in bands(image):
            if as_colours:
                ids = _ids_of_colours(np.asarray(band.convert("RGB")), palette, name, top)
            else:
                ids = np.asarray(band)
            low, high = int(ids.min()) // spread, int(ids.max()) // spread
            if low < 0 or (classes is not None and high >= classes):
                raise UnknownLabelError(name, f"label {low if low < 0 else high}")
            inside = rows[(rows >= top) & (rows < top + len(ids))] - top
            kept.append(ids[np.ix_(inside, columns)].astype(np.int32) // spread)
            top += len(ids)
        return np.concatenate(kept)


def read_palette(palette):
    """Returns a palette as uint8 (K, 3), the colour of each label.

    Args:
        palette: (K, 3) integers in [0, 255]; "scenes"; or the path of a file: JSON
            [[r, g, b], ...], or text with a line `r g b` for each label, which may have its number
            before, as in what `generate.py --colours` prints.

    Raises:
        ValueError: for what is none, and for a colour of two labels.
    """
    expected = '(K, 3) integers in [0, 255], "scenes", or a file of them, each colour once'
    received = repr(palette)[:80]
    if isinstance(palette, str) and palette == "scenes":
        return SCENE_PALETTE
    try:
        if isinstance(palette, str) or hasattr(palette, "__fspath__"):
            palette = _read_palette_file(palette)
        colours = np.asarray(palette)
        valid = colours.ndim == 2 and colours.shape[1] == 3 and colours.dtype.kind in "iu"
        valid = valid and len(colours) and colours.min() >= 0 and colours.max() <= 255
        valid = valid and len(np.unique(colours, axis=0)) == len(colours)
    except (ValueError, TypeError, RecursionError, OSError) as error:
        refuse("label_palette", f"{received} ({error})", expected)
    if not valid:
        refuse("label_palette", received, expected)
    return colours.astype(np.uint8)


def _read_palette_file(path):
    with open_regular(path) as file:
        text = file.read(_MOST_BYTES).decode("utf-8-sig")
    if text.lstrip().startswith("["):
        return json.loads(text)
    lines = [[int(n) for n in re.findall(r"\b\d+\b", line)] for line in text.splitlines()]
    lines = [numbers for numbers in lines if numbers]
    if all(len(numbers) == 4 for numbers in lines):
        order = [numbers[0] for numbers in lines]
        if order != list(range(len(order))):
            raise ValueError(f"its labels are {order[:5]} ..., not 0, 1, 2 ...")
        return [numbers[1:] for numbers in lines]
    return lines


def _spread(image):
    """The factor by which Pillow will multiply the ids of an image that is not decoded yet."""
    raw = image.tile[0][3] if image.tile else None
    raw = raw[0] if isinstance(raw, tuple) and raw else raw
    return _SPREAD.get(raw, 1) if isinstance(raw, str) else 1


def _has_colours_of(image, palette):
    if image.mode != "P":
        return image.mode in _COLOUR_MODES
    used = [index for _, index in image.getcolors(256)]
    colours = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    known = {tuple(colour) for colour in palette.tolist()}
    of_palette = [i < len(colours) and tuple(colours[i].tolist()) in known for i in used]
    return sum(of_palette) * 2 > len(used)


def _ids_of_colours(pixels, palette, name, top):
    """int32 (H, W) from colours uint8 (H, W, 3); `top` is the row that they begin at."""
    codes, known = _codes(pixels), _codes(palette)
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known[order], codes), len(known) - 1)
    found = known[order][place] == codes
    if not found.all():
        row, column = np.argwhere(~found)[0]
        colour = tuple(map(int, pixels[row, column]))
        place = f"row {row + top}, column {column}"
        raise UnknownLabelError(name, f"a colour of no label, {colour} at {place}")
    return order[place].astype(np.int32)


def _codes(colours):
    red, green, blue = np.moveaxis(colours.astype(np.int32), -1, 0)
    return (red << 16) | (green << 8) | blue

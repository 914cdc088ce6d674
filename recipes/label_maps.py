"""Label maps from picture files: of label numbers, or of the labels' colours."""

import numpy as np

from keras_regvq.data.pictures import open_picture

_NUMBERS = ("1", "L", "I", "I;16", "I;16B", "I;16L")  # Pillow's modes of one channel of integers


def read_map(path, size, palette):
    """Read a label map and bring it to size.

    One channel holds label numbers, three the labels' colours. A picture with a palette has both:
    its colours count where all that occur are labels' colours, whatever their order; else its
    numbers do.

    Args:
        path: a picture file, of the shape of `size` and usually larger.
        size: (height, width).
        palette: uint8 (num_classes, 3), the labels' colours.

    Returns:
        int32 (height, width).

    Raises:
        ValueError: naming the file and, in its own pixels, where it has what is no label.
        OSError: naming the file, if it cannot be opened.
    """
    with open_picture(path) as image:
        image.load()
        if _is_animated(image):
            raise ValueError(f"{path} has several pictures: save one.")
        check_shape(path, image.size, size)
        labels = _labels(path, image, palette)
    rows, columns = (
        ((np.arange(side) + 0.5) * there / side).astype(int)
        for side, there in zip(size, labels.shape, strict=True)
    )
    return labels[np.ix_(rows, columns)].astype("int32")


def check_shape(path, found, size):
    """Refuse a picture of `found` (width, height) pixels that `size` would stretch by over one."""
    width, height = found
    if abs(width * size[0] - height * size[1]) > max(size):
        raise ValueError(
            f"{path} has {width} x {height} pixels (width x height), which is not the shape of "
            f"{size[1]} x {size[0]}: crop it, or fill it up."
        )


def _labels(path, image, palette):
    """Integers of the picture's own size."""
    if image.mode == "P":
        return _labels_of_palette(path, image, palette)
    if image.mode in _NUMBERS:
        numbers = np.asarray(image).astype("int64")
        _refuse_where(path, (numbers < 0) | (numbers >= len(palette)), numbers, palette)
        return numbers
    if image.mode not in ("RGB", "RGBA", "RGBX", "LA", "PA"):
        raise ValueError(f"{path} is of mode {image.mode}: save label numbers or RGB colours.")
    pixels = np.asarray(image.convert("RGBA"))
    if image.mode == "LA":
        _refuse_where(path, pixels[..., 3] < 255, pixels, palette)
        return _labels(path, image.getchannel("L"), palette)
    labels = labels_of_colours(pixels[..., :3], palette)
    unknown = labels < 0
    if image.mode in ("RGBA", "PA"):
        unknown |= pixels[..., 3] < 255
    else:
        pixels = pixels[..., :3]
    hint = " JPEG changes colours: save a PNG." if image.format in ("JPEG", "MPO") else ""
    _refuse_where(path, unknown, pixels, palette, hint)
    return labels


def _labels_of_palette(path, image, palette):
    numbers = np.asarray(image)
    colours = np.zeros((256, 3), "uint8")
    there = np.asarray(image.getpalette("RGB"), "uint8").reshape(-1, 3)
    colours[: len(there)] = there
    of_colours = labels_of_colours(colours, palette)
    if (of_colours[np.unique(numbers)] >= 0).all():
        return of_colours[numbers]
    unknown = numbers >= len(palette)
    if unknown.any():
        row, column = np.argwhere(unknown)[0]
        number = int(numbers[row, column])
        raise ValueError(
            f"{path} has no label at row {row}, column {column}: neither its palette's number, "
            f"{number} ({_allowed(palette)}), nor, with those that occur, its colour, "
            f"{tuple(map(int, colours[number]))}; see --colours."
        )
    return numbers


def labels_of_colours(pixels, palette):
    """The labels of colours, uint8 (..., 3) -> int64 (...); -1 for a colour of no label."""
    codes, known = _codes(pixels), _codes(palette)
    order = np.argsort(known, kind="stable")
    place = np.minimum(np.searchsorted(known[order], codes), len(known) - 1)
    return np.where(known[order][place] == codes, order[place], -1)


def _codes(colours):
    return colours.astype("int64") @ np.array([1 << 16, 1 << 8, 1])


def _refuse_where(path, wrong, pixels, palette, hint=""):
    """Refuse a picture for the first pixel that is `wrong`, if there is one."""
    if not wrong.any():
        return
    row, column = np.argwhere(wrong)[0]
    value, place = pixels[row, column], f"at row {row}, column {column}"
    if np.ndim(value) == 0:
        raise ValueError(f"{path} has label {int(value)} {place}; {_allowed(palette)}.")
    value = tuple(map(int, value))
    if len(value) == 4 and value[3] < 255:
        raise ValueError(f"{path} is transparent, {value}, {place}: save it without transparency.")
    value = value[:3]
    raise ValueError(
        f"{path} has a colour of no label, {value} {place}: save label numbers, or see "
        f"--colours.{hint}"
    )


def _allowed(palette):
    return f"labels are 0 to {len(palette) - 1}"


def _is_animated(image):
    return getattr(image, "n_frames", 1) > 1

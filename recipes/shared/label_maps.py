"""Label maps that someone drew: picture files of label numbers, or of the labels' colours."""

import numpy as np

from keras_regvq.data.decoding import nearest_pixels, open_picture
from keras_regvq.data.label_maps import UnknownLabelError, read_labels


def read_map(path, size, palette):
    """Read a label map, as `read_labels` does, and bring it to size.

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
        format = image.format
        if getattr(image, "n_frames", 1) > 1:
            raise ValueError(f"{path} has several pictures: save one.")
        check_shape(path, image.size, size)
    try:
        labels = read_labels(path, palette=palette)
    except UnknownLabelError as error:
        hint = " JPEG changes colours: save a PNG." if format in ("JPEG", "MPO") else ""
        message = f"{error}: save label numbers, or the labels' colours.{hint}"
        raise ValueError(message) from None
    unknown = (labels < 0) | (labels >= len(palette))
    if unknown.any():
        row, column = np.argwhere(unknown)[0]
        raise ValueError(
            f"{path} has label {labels[row, column]} at row {row}, column {column}; labels are 0 "
            f"to {len(palette) - 1}, or their colours (those of scenes: see --colours)."
        )
    rows, columns = nearest_pixels(*labels.shape, *size)
    return labels[np.ix_(rows, columns)]


def check_shape(path, found, size):
    """Refuse a picture of `found` (width, height) pixels that does not have the shape of `size`,
    but for one pixel."""
    width, height = found
    if abs(width * size[0] - height * size[1]) > max(size):
        raise ValueError(
            f"{path} has {width} x {height} pixels (width x height), which is not the shape of "
            f"{size[1]} x {size[0]}: crop or pad it."
        )

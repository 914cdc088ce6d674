"""Which sizes and channels the images of a tokenizer can have."""

import numpy as np

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.checks.arrays import IMAGE_CHANNELS


def check_image_size(image_size, factor):
    """Return (height, width) as multiples of `factor`."""
    sides = (image_size, image_size) if np.ndim(image_size) == 0 else tuple(image_size)
    if len(sides) != 2 or any(check_positive_integer("image_size", s) % factor for s in sides):
        refuse("image_size", repr(image_size), f"one or two multiples of {factor}")
    return tuple(int(side) for side in sides)


def check_image_channels(image_channels):
    """Return a number of channels that images can have."""
    check_positive_integer("image_channels", image_channels)
    if image_channels not in IMAGE_CHANNELS:
        refuse("image_channels", image_channels, "1 (grey), 3 (RGB) or 4 (RGB and opacity)")
    return int(image_channels)

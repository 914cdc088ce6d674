"""Ordered dither: each place on the grid sees the features a little moved."""

import numpy as np
from keras import ops

TILE = 4


def dither_offsets(width, height, columns):
    """Offsets of length 1, float32 (height, columns, width), that repeat every 4 x 4 places.

    In a flat picture all features are equal. Without offsets all tokens are, too, and the colour is
    one of N. With them the places choose different codes around the features, and what is decoded
    from several of them together lies between. As in Bayer, "An optimum method for two-level
    rendition of continuous-tone pictures" (1973), the offsets of a tile cancel out, but for what it
    takes to have the same length.
    """
    # RandomState: its numbers are the same in every version of NumPy.
    tile = np.random.RandomState(0).standard_normal((TILE, TILE, width))
    tile -= tile.mean((0, 1))
    tile /= np.linalg.norm(tile, axis=-1, keepdims=True)
    tile = ops.convert_to_tensor(tile.astype("float32"))
    rows = ops.take(tile, ops.arange(height) % TILE, axis=0)
    return ops.take(rows, ops.arange(columns) % TILE, axis=1)

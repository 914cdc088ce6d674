"""Reg-VQ's stochastic mask M."""

import keras
from keras import ops


def draw_mask(mask_ratio, batch, length, seed_generator):
    """A random choice of exactly round(mask_ratio * L) positions of each image.

    Every choice of so many positions is equally likely. Reg-VQ (arXiv 2303.06424), 3.2.

    Args:
        mask_ratio: share of the positions, in [0, 1].
        batch: B, the number of images.
        length: L, the positions of an image.
        seed_generator: a `keras.random.SeedGenerator`.

    Returns:
        bool (B, L), True where the code is to be sampled.
    """
    uniform = keras.random.uniform((batch, length), dtype="float32", seed=seed_generator)
    # The rank of each position in a random order: the lowest ranks are the mask.
    rank = ops.argsort(ops.argsort(uniform, axis=-1), axis=-1)
    return rank < rounded_share(mask_ratio, length)


def rounded_share(ratio, length):
    """round(ratio * length), also where a graph knows the length only when it runs."""
    if isinstance(length, int):
        return round(ratio * length)
    return ops.cast(ops.round(ratio * ops.cast(length, "float64")), "int32")

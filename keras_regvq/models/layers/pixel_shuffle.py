"""Patches of pixels as channels of one position, and back."""

import keras
from keras import ops

from keras_regvq.checks.arguments import check_positive_integer


@keras.saving.register_keras_serializable(package="keras_regvq")
class PixelShuffle(keras.layers.Layer):
    """(B, h, w, p p C) -> (B, p h, p w, C): each position becomes a patch of p x p pixels.

    A patch's rows come one after the other, and within a pixel its channels. Shi et al., "Real-Time
    Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
    Network" (2016).

    Args:
        patch_size: p.
    """

    def __init__(self, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = check_positive_integer("patch_size", patch_size)

    def call(self, inputs):
        batch, height, width, channels = ops.shape(inputs)
        size = self.patch_size
        channels = channels // size**2
        x = ops.reshape(inputs, (batch, height, width, size, size, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (batch, height * size, width * size, channels))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        size = self.patch_size
        sides = [None if side is None else side * size for side in (height, width)]
        return (batch, *sides, channels // size**2)

    def get_config(self):
        return {**super().get_config(), "patch_size": self.patch_size}


def pixel_unshuffle(images, patch_size):
    """(B, p h, p w, C) -> (B, h, w, p p C): what `PixelShuffle` makes `images` of."""
    batch, height, width, channels = ops.shape(images)
    height, width = height // patch_size, width // patch_size
    x = ops.reshape(images, (batch, height, patch_size, width, patch_size, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (batch, height, width, patch_size**2 * channels))

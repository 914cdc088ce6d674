"""Patches and pixels, against PyTorch's pixel shuffle."""

import keras
import numpy as np
import pytest
import torch

from keras_regvq.models.layers.pixel_shuffle import PixelShuffle, pixel_unshuffle


@pytest.mark.parametrize("size, channels", [(1, 3), (2, 3), (4, 1)])
def test_it_is_pytorchs_with_the_channels_of_a_pixel_last(size, channels, rng):
    patches = rng.normal(size=(2, 3, 5, size * size * channels)).astype("float32")
    images = keras.ops.convert_to_numpy(PixelShuffle(size)(patches))
    # PyTorch's channels are (C, p, p), ours (p, p, C).
    theirs = patches.reshape(2, 3, 5, size * size, channels).swapaxes(-1, -2)
    theirs = torch.from_numpy(theirs.reshape(patches.shape).transpose(0, 3, 1, 2).copy())
    expected = torch.nn.functional.pixel_shuffle(theirs, size).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(images, expected)
    assert PixelShuffle(size).compute_output_shape(patches.shape) == images.shape
    back = keras.ops.convert_to_numpy(pixel_unshuffle(images, size))
    np.testing.assert_array_equal(back, patches)

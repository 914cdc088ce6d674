"""regvq_photos_64: photographs that it never saw, and flat colours."""

import itertools

import numpy as np
import pytest
from skimage import data

import keras_regvq


@pytest.fixture(scope="module")
def tokenizer():
    return keras_regvq.from_preset("regvq_photos_64")


def test_photographs_come_back(tokenizer):
    for photograph in (data.chelsea(), data.coffee()):
        crops = [photograph[y : y + 256 : 4, x : x + 256 : 4] for y in (0, 40) for x in (0, 150)]
        crops = np.stack(crops)
        error = np.square(tokenizer.reconstruct(crops) - crops / np.float32(255)).mean((1, 2, 3))
        assert (-10 * np.log10(error)).mean() > 19


def test_flat_colours_stay_flat_and_what_they_are(tokenizer):
    colours = np.array([*itertools.product((0, 128, 255), repeat=3)], "uint8")
    pictures = np.broadcast_to(colours[:, None, None], (27, 64, 64, 3))
    difference = 255 * tokenizer.reconstruct(pictures) - pictures
    off = np.abs(difference.mean((1, 2))).max(-1)
    assert np.median(off) < 2 and off.max() < 8
    patches = difference.reshape(27, 16, 4, 16, 4, 3).mean((1, 3))
    assert patches.std((1, 2)).mean() < 1  # no grid
    assert np.abs(difference[:, :4]).mean() < np.abs(difference).mean() + 2  # no border

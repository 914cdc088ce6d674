import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_regvq.data import SCENE_PALETTE, scene

SIZE = (32, 32)


@pytest.fixture
def read():
    read_map = importlib.import_module("shared.label_maps").read_map
    return lambda path, size=SIZE, palette=SCENE_PALETTE: read_map(path, size, palette)


@pytest.fixture
def labels():
    return scene(5, size=32, split="test").labels.astype("uint8")


def with_palette(numbers, colours):
    image = Image.fromarray(numbers).convert("P")
    image.putdata(numbers.ravel().tolist())
    image.putpalette(np.asarray(colours, "uint8").ravel().tolist())
    return image


def test_numbers_and_colours_of_every_kind_give_the_same_labels(read, labels):
    rgb = Image.fromarray(SCENE_PALETTE[labels])
    order = np.random.default_rng(0).permutation(16)
    place = np.argsort(order).astype("uint8")  # the editor's own order of the palette
    shifted = np.concatenate([np.zeros((100, 3)), SCENE_PALETTE])
    grey = np.repeat(np.arange(256)[:, None], 3, axis=1)
    for name, image in {
        "numbers.png": Image.fromarray(labels),
        "numbers.tif": Image.fromarray(labels.astype("uint16")),
        "colours.png": rgb,
        "colours.bmp": rgb,
        "alpha.png": rgb.convert("RGBA"),
        "palette.png": with_palette(labels, SCENE_PALETTE),
        "other_order.png": with_palette(place[labels], SCENE_PALETTE[order]),
        "shifted.png": with_palette(labels + 100, shifted),
        "grey_palette.png": with_palette(labels, grey),
        "adaptive.png": rgb.quantize(16),
    }.items():
        image.save(name)
        np.testing.assert_array_equal(read(name), labels, err_msg=name)


def test_a_map_is_brought_to_size_by_the_nearest_label(read, labels):
    Image.fromarray(labels.repeat(3, 0).repeat(3, 1)).save("large.png")
    np.testing.assert_array_equal(read("large.png"), labels)
    Image.fromarray(labels[:16]).save("wide.png")
    np.testing.assert_array_equal(read("wide.png", (16, 32)), labels[:16])


def test_what_is_no_label_is_named_in_the_maps_own_pixels(read, labels):
    large = labels.repeat(3, 0).repeat(3, 1)
    number, colour = large.copy(), SCENE_PALETTE[large]
    number[70, 5] = 99
    colour[70, 5] = (1, 2, 3)
    odd = with_palette(number, np.random.default_rng(0).integers(0, 256, (256, 3)))
    for name, image, message in (
        ("number.png", Image.fromarray(number), "label 99 at row 70, column 5; labels are 0 to 15"),
        ("colour.png", Image.fromarray(colour), r"\(1, 2, 3\) at row 70, column 5"),
        ("palette.png", odd, "label 99 at row 70, column 5"),
        ("lossy.jpg", Image.fromarray(SCENE_PALETTE[large]), "JPEG changes colours"),
        ("cmyk.tif", Image.new("CMYK", (32, 32)), "CMYK, not ids"),
        ("wide.png", Image.new("L", (64, 32)), "64 x 32 pixels.*not the shape of 32 x 32"),
    ):
        image.save(name)
        with pytest.raises(ValueError, match=f"{name} .*{message}"):
            read(name)


def test_only_pictures_of_listed_formats_are_opened(read):
    Path("eps.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EOF\n")
    with pytest.raises(ValueError, match="eps.png"):
        read("eps.png")

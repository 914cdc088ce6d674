"""Label maps: ids of every depth, and colours of a palette."""

import json
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_regvq.data import SCENE_CLASSES, SCENE_PALETTE, load
from keras_regvq.data.label_maps import read_labels, read_palette
from tests.data.picture_folders import flat, only, read_all, write

PALETTE = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (9, 9, 200)], np.uint8)
IDS = np.arange(32 * 32).reshape(32, 32) % 4


@pytest.fixture
def folder(split_folder):
    write(split_folder / "test" / "images" / "a.png", flat(7))
    return split_folder


def label_path(folder, name="a"):
    path = folder / "test" / "labels" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    return path


def indexed(order):
    """The ids drawn in the colours of the palette, but with the palette in another order."""
    image = Image.fromarray(np.argsort(order)[IDS].astype(np.uint8), "P")
    image.putpalette(PALETTE[order].ravel().tolist())
    return image


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "indexed in another order"])
def test_colours_become_the_labels_of_a_palette(folder, mode):
    image = indexed([2, 0, 3, 1])
    if mode in ("RGB", "RGBA"):
        image = image.convert(mode)
    image.save(label_path(folder))
    example = only(folder, fields=("images", "labels"), label_palette=PALETTE)
    np.testing.assert_array_equal(example["labels"], IDS)
    assert example["labels"].dtype == np.int32


def test_an_indexed_picture_of_other_colours_keeps_its_indices(folder):
    image = Image.fromarray(IDS.astype(np.uint8), "P")
    image.putpalette([50, 60, 70, 51, 60, 70, 52, 60, 70, 53, 60, 70])
    image.save(label_path(folder))
    example = only(folder, fields=("labels",), label_palette=PALETTE)
    np.testing.assert_array_equal(example["labels"], IDS)


def test_ids_stay_ids_where_there_is_a_palette(folder):
    Image.fromarray(IDS.astype(np.uint8)).save(label_path(folder))
    example = only(folder, fields=("labels",), label_palette=PALETTE)
    np.testing.assert_array_equal(example["labels"], IDS)


@pytest.mark.parametrize("verify", [True, False])
def test_a_colour_of_no_label_is_named_with_its_place_and_skipped(folder, verify):
    write(folder / "test" / "images" / "b.png", flat(8))
    good = PALETTE[IDS]
    bad = good.copy()
    bad[5, 17] = (1, 2, 3)
    Image.fromarray(good).save(label_path(folder))
    Image.fromarray(bad).save(label_path(folder, "b"))
    place = r"a colour of no label, \(1, 2, 3\) at row 5, column 17"
    expected = rf"b.png: {place}" if verify else rf"b.png with {place}"
    with pytest.warns(UserWarning, match=expected):
        options = {"label_palette": PALETTE, "verify": verify, "fields": ("images", "labels")}
        examples = read_all(f"folder:{folder}", **options)
    assert len(examples) == (1 if verify else 2)
    assert all((e["labels"] == IDS).all() and (e["images"] == 7).all() for e in examples)


def test_a_label_above_the_palette_is_skipped_too(folder):
    write(folder / "test" / "images" / "b.png", flat(8))
    Image.fromarray(IDS.astype(np.uint8)).save(label_path(folder))
    Image.fromarray((IDS + 1).astype(np.uint8)).save(label_path(folder, "b"))
    with pytest.warns(UserWarning, match=r"1 with unknown labels \(b.png: label 4\)"):
        only(folder, fields=("labels",), label_palette=PALETTE, verify=True)


def test_colours_without_a_palette_are_not_ids(folder):
    Image.fromarray(PALETTE[IDS]).save(label_path(folder))
    with pytest.raises(ValueError, match="1 whose label map is not one channel of ids"):
        load(f"folder:{folder}", "test", 32, fields=("labels",))


def grey_png(ids, depth):
    """A grey PNG of less than 8 bits, which Pillow writes in full depth only."""

    def chunk(kind, data):
        return (
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        )

    bits = (ids[..., None] >> np.arange(depth)[::-1]) & 1
    rows = np.packbits(bits.reshape(len(ids), -1).astype(np.uint8), axis=1)
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)
    size = b"".join(side.to_bytes(4, "big") for side in ids.shape[::-1])
    header = chunk(b"IHDR", size + bytes([depth, 0, 0, 0, 0]))
    return (
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_grey_of_few_bits_is_not_spread_over_all_greys(tmp_path, depth):
    ids = np.arange(12 * 16).reshape(12, 16) % 2**depth
    (tmp_path / "a.png").write_bytes(grey_png(ids, depth))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), ids)


def test_negative_labels_and_floats_are_refused_by_name(tmp_path):
    Image.fromarray(np.full((8, 8), -1, np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="a.tif with label -1"):
        read_labels(tmp_path / "a.tif")
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(ValueError, match="b.tif is no label map"):
        read_labels(tmp_path / "b.tif")


def test_a_large_label_map_is_read_in_bands_with_the_same_result(tmp_path):
    ids = np.random.default_rng(0).integers(0, 200, (2000, 3000)).astype(np.uint8)
    Image.fromarray(ids).save(tmp_path / "a.png")
    whole = read_labels(tmp_path / "a.png")
    np.testing.assert_array_equal(whole, ids)
    fitted = read_labels(tmp_path / "a.png", (100, 100))
    np.testing.assert_array_equal(fitted, ids[10:2000:20, 510:2500:20])


def test_palettes_are_read_from_files_and_names(tmp_path):
    np.testing.assert_array_equal(read_palette("scenes"), SCENE_PALETTE)
    (tmp_path / "a.json").write_text(json.dumps(PALETTE.tolist()))
    (tmp_path / "b.txt").write_text("\n".join("{} {} {} # a name".format(*c) for c in PALETTE))
    printed = "\n".join(  # what generate.py --colours prints
        f"{label:2d}  {name:12s} {tuple(map(int, colour))}"
        for label, (name, colour) in enumerate(zip(SCENE_CLASSES, SCENE_PALETTE, strict=True))
    )
    (tmp_path / "c.txt").write_text(printed)
    np.testing.assert_array_equal(read_palette(tmp_path / "a.json"), PALETTE)
    np.testing.assert_array_equal(read_palette(str(tmp_path / "b.txt")), PALETTE)
    np.testing.assert_array_equal(read_palette(str(tmp_path / "c.txt")), SCENE_PALETTE)


@pytest.mark.parametrize(
    "palette",
    [
        *("nowhere.txt", "", 5, [], [[1, 2]], [[1, 2, 300]], [[1, 2, 3.5]], [[1, 2, 3]] * 2),
        "[" * 100_000,
    ],
)
def test_what_is_no_palette_is_refused(tmp_path, palette):
    if isinstance(palette, str) and palette.startswith("["):
        (tmp_path / "deep.json").write_text(palette)
        palette = tmp_path / "deep.json"
    with pytest.raises(ValueError, match="`label_palette`.*Expected"):
        read_palette(palette)

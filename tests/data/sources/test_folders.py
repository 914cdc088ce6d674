"""Picture folders: layouts, modes, geometry, captions and splits."""

import json
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from keras_regvq.data import decoding as pictures
from keras_regvq.data import load
from keras_regvq.data.decoding import fit_image, read_image
from tests.data.picture_folders import flat, only, read_all, write


def test_a_large_picture_is_scaled_by_its_shorter_side_and_cropped_to_the_centre(split_folder):
    wide = np.zeros((64, 192, 3), np.uint8)
    wide[:, 64:96], wide[:, 96:128] = (255, 0, 0), (0, 0, 255)
    write(split_folder / "test" / "images" / "a.png", wide)
    image = only(split_folder)["images"]
    assert image.shape == (32, 32, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image[:, 1:14], np.broadcast_to((255, 0, 0), (32, 13, 3)))
    np.testing.assert_array_equal(image[:, 18:31], np.broadcast_to((0, 0, 255), (32, 13, 3)))


def test_scaling_down_averages_instead_of_picking_pixels(split_folder):
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 200
    write(split_folder / "test" / "images" / "a.png", stripes)
    image = only(split_folder)["images"].astype(int)
    assert np.abs(image[:, 2:-2] - 100).max() <= 4


def test_label_maps_get_the_geometry_of_their_image_and_keep_their_ids(split_folder):
    labels = np.zeros((64, 128), np.uint8)
    labels[:32, 32:64], labels[32:, 64:96] = 150, 7
    image = np.repeat(labels[:, :, None], 3, axis=2)
    write(split_folder / "test" / "images" / "deep" / "a.png", image)
    write(split_folder / "test" / "labels" / "deep" / "a.png", labels)
    example = only(split_folder, fields=("labels", "images"))
    assert example["labels"].dtype == np.int32 and example["labels"].shape == (32, 32)
    expected = np.zeros((32, 32), int)
    expected[:16, :16], expected[16:, 16:] = 150, 7
    np.testing.assert_array_equal(example["labels"], expected)
    far_from_edges = np.abs(np.arange(32) - 15.5) > 4
    shown = example["images"][far_from_edges][:, far_from_edges, 0].astype(int)
    assert np.abs(shown - expected[far_from_edges][:, far_from_edges]).max() <= 12


def test_label_maps_of_palette_and_16_bit_files_give_their_ids(split_folder):
    ids = np.arange(32 * 32).reshape(32, 32)
    palette = Image.fromarray((ids % 5).astype(np.uint8), mode=None)
    palette = palette.convert("P")
    palette.putpalette([9, 9, 9] * 256)
    for name, labels in {"a": palette, "b": Image.fromarray(ids.astype(np.uint16))}.items():
        write(split_folder / "test" / "images" / f"{name}.png", flat(ord(name)))
        write(split_folder / "test" / "labels" / f"{name}.png", labels)
    got = read_all(f"folder:{split_folder}", fields=("images", "labels"))
    by_name = {chr(e["images"][0, 0, 0]): e["labels"] for e in got}
    np.testing.assert_array_equal(by_name["a"], ids % 5)
    np.testing.assert_array_equal(by_name["b"], ids)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("L", (32, 32), 77), (77, 77, 77)),
        (Image.new("RGBA", (32, 32), (200, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (32, 32), (0, 0, 0, 51)), (204, 204, 204)),
        (Image.new("LA", (32, 32), (10, 255)), (10, 10, 10)),
        (Image.new("1", (32, 32), 1), (255, 255, 255)),
        (Image.new("RGB", (32, 32), (1, 2, 3)).quantize(4), (1, 2, 3)),
        (Image.fromarray(np.full((32, 32), 514, np.uint16)), (2, 2, 2)),
        (Image.fromarray(np.full((32, 32), 65535, np.uint16)), (255, 255, 255)),
    ],
    ids=["grey", "clear", "glass", "grey-alpha", "binary", "palette", "16-bit-dark", "16-bit"],
)
def test_every_mode_becomes_rgb_on_white(split_folder, picture, expected):
    write(split_folder / "test" / "images" / "a.png", picture)
    got = only(split_folder)["images"]
    np.testing.assert_array_equal(got, np.broadcast_to(np.uint8(expected), (32, 32, 3)))


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGB"])
def test_jpegs_of_any_mode_and_size_are_read(split_folder, mode):
    write(split_folder / "test" / "images" / "a.JPG", Image.new("RGB", (900, 700)).convert(mode))
    assert only(split_folder)["images"].max() <= 2


def test_the_exif_orientation_of_a_photo_is_applied(split_folder):
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:16] = 255  # the upper half is white as stored, the right half as shown
    exif = Image.Exif()
    exif[0x0112] = 6
    write(split_folder / "test" / "images" / "a.png", picture, exif=exif)
    image = only(split_folder)["images"]
    assert (image[:, 16:] == 255).all() and (image[:, :16] == 0).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_applied_as_pillow_does(tmp_path, orientation):
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    write(tmp_path / "a.png", pixels, exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_a_large_picture_is_averaged_in_bands_to_what_it_is_at_once(tmp_path, monkeypatch):
    rows, columns = np.mgrid[:512, :700]
    image = np.stack([rows / 2, columns / 3, (rows + columns) / 6], -1).astype(np.uint8)
    write(tmp_path / "a.png", image)
    at_once = fit_image(read_image(tmp_path / "a.png", 16), 16, 16)
    monkeypatch.setattr(pictures, "_BAND", 700 * 64)
    monkeypatch.setattr(pictures, "_LARGE", 2**16)
    shrunk = read_image(tmp_path / "a.png", 16)
    assert shrunk.shape == (64, 88, 3)  # four times what is wanted
    in_bands = fit_image(shrunk, 16, 16)
    assert np.abs(in_bands.astype(int) - at_once).max() <= 1


@pytest.mark.parametrize("mode, most", [("F", 255.0), ("I", 255), ("F", 1.0)])
def test_what_white_is_in_a_large_picture_is_found_once(tmp_path, monkeypatch, mode, most):
    values = np.linspace(0, most, 300 * 64).reshape(300, 64)
    Image.fromarray(values.astype(np.float32 if mode == "F" else np.int32)).save(tmp_path / "a.tif")
    asked, original = [], pictures._white
    monkeypatch.setattr(
        pictures, "_white", lambda image: asked.append(image.size) or original(image)
    )
    monkeypatch.setattr(pictures, "_BAND", 64 * 64)
    grey = read_image(tmp_path / "a.tif", channels=1)[:, :, 0]
    assert asked == [(64, 300)]
    assert np.abs(grey - values * 255 / most).max() <= 1


@pytest.mark.parametrize("most", [1.0, 1.0005, 255.0, 65535.0])
def test_floats_of_every_range_are_read_alike(tmp_path, most):
    values = np.linspace(0, most, 256, dtype=np.float32).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "a.tif")
    grey = read_image(tmp_path / "a.tif", channels=1)[:, :, 0]
    assert np.abs(grey - np.arange(256).reshape(16, 16)).max() <= 1


@pytest.mark.parametrize("suffix", ["pgm", "png", "tif"])
def test_a_dark_picture_of_16_bits_stays_dark(tmp_path, suffix):
    values = np.full((8, 8), 200, np.uint16)
    if suffix == "pgm":
        (tmp_path / "a.pgm").write_bytes(b"P5 8 8 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert (read_image(tmp_path / f"a.{suffix}", channels=1) == 1).all()


@pytest.mark.parametrize(
    "values",
    [np.linspace(-1, 1, 64, dtype=np.float32), np.linspace(0, 2e5, 64, dtype=np.int32)],
)
def test_values_of_no_known_range_are_refused(tmp_path, values):
    Image.fromarray(values.reshape(8, 8)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="a.tif cannot be read as a picture: values from"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_a_turned_picture_is_as_large_as_its_label_map(tmp_path, suffix):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (48, 32)).save(tmp_path / "images" / f"a.{suffix}", exif=exif)
    Image.new("L", (32, 48)).save(tmp_path / "labels" / "a.png")
    options = {"image_size": 16, "batch_size": 1, "fields": ("images", "labels")}
    batches = load(f"folder:{tmp_path}", split="all", shuffle=False, **options)
    assert len(list(batches)) == 1
    Image.new("L", (48, 32)).save(tmp_path / "labels" / "a.png")
    with pytest.raises(ValueError, match="another size"):
        load(f"folder:{tmp_path}", split="all", **options)


def test_captions_are_found_by_name_or_stem_and_drawn_from_several(split_folder):
    for i, name in enumerate(("a.png", "b.png", "sub/c.png", "d.e.png")):
        write(split_folder / "test" / "images" / name, flat(i))
    lines = [
        {"file": "a.png", "caption": "first"},
        {"file": "b", "captions": ["second", "zweitens", "deuxième"]},
        {"file": "sub/c", "caption": "third"},
        {"file": "d.e", "caption": "fourth"},
    ]
    text = "\n\n".join(json.dumps(line) for line in lines)
    (split_folder / "test" / "captions.jsonl").write_text(text, encoding="utf-8")
    dataset = load(
        f"folder:{split_folder}", "test", 32, None, ("images", "captions"), shuffle=True, seed=4
    )
    seen = {}
    for _ in range(12):
        for example in dataset.as_numpy_iterator():
            text = example["captions"].decode()
            seen.setdefault(int(example["images"][0, 0, 0]), set()).add(text)
    several = {"second", "zweitens", "deuxième"}
    assert seen == {0: {"first"}, 1: several, 2: {"third"}, 3: {"fourth"}}


def test_without_shuffling_every_pass_draws_the_same_captions(split_folder):
    lines = []
    for i in range(6):
        write(split_folder / "test" / "images" / f"{i}.png", flat(i))
        lines.append(json.dumps({"file": str(i), "captions": [f"{i}-{k}" for k in range(9)]}))
    (split_folder / "test" / "captions.jsonl").write_text("\n".join(lines))
    dataset = load(f"folder:{split_folder}", "test", 32, None, "captions", seed=5)
    first, again = ([e["captions"] for e in dataset.as_numpy_iterator()] for _ in "ab")
    assert first == again and len({text.split(b"-")[1] for text in first}) > 1


def test_a_folder_without_split_folders_is_split_by_the_crc32_of_the_path(tmp_path):
    names = [f"{'sub/' if i % 3 else ''}{i}" for i in range(120)]
    for i, name in enumerate(names):
        write(tmp_path / f"{name}.png", flat(i))
    write(tmp_path / "labels" / "0.png", np.zeros((32, 32), np.uint8))  # no image
    got = {}
    for split in ("train", "test"):
        got[split] = {int(e["images"][0, 0, 0]) for e in read_all(f"folder:{tmp_path}", split)}
    expected = {i for i, name in enumerate(names) if zlib.crc32(name.encode()) % 10 == 0}
    assert got["test"] == expected and 3 < len(expected) < 25
    assert got["train"] == set(range(120)) - expected
    assert len(read_all(f"folder:{tmp_path}", "train", num_examples=7)) == 7


@pytest.mark.parametrize("names", [("train", "test"), ("training", "validation")])
def test_split_folders_inside_images_and_annotations_are_used(tmp_path, names):
    for value, name in enumerate(names):
        write(tmp_path / "images" / name / "x.png", flat(value))
        write(tmp_path / "annotations" / name / "x.png", np.full((32, 32), value, np.uint8))
    for value, split in enumerate(("train", "test")):
        example = only(tmp_path, split=split, fields=("images", "labels"))
        assert (example["images"] == value).all() and (example["labels"] == value).all()


def test_shuffled_passes_hold_every_image_once(tmp_path):
    for i in range(20):
        write(tmp_path / "train" / f"{i}.png", flat(10 * i))
    write(tmp_path / "test" / "0.png", flat(0))
    dataset = load(f"folder:{tmp_path}", "train", 32, None, seed=1)
    orders = [[int(e["images"][0, 0, 0]) // 10 for e in dataset] for _ in range(2)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(20))
    assert orders[0] != orders[1] != list(range(20))

"""The procedural scenes: determinism, sizes, truth of captions, splits, and their dataset."""

import re
import subprocess
import sys

import numpy as np
import pytest

from keras_regvq.data import HELD_OUT, SCENE_CLASSES, SCENE_PALETTE, load, scene, scenes

KINDS = SCENE_CLASSES[9:]
COLOURS = ("red", "yellow", "green", "blue", "purple", "white")
NAMED = re.compile(rf"a ({'|'.join(COLOURS)}) ({'|'.join(KINDS)})\b")


@pytest.fixture(scope="module")
def train_scenes():
    return [scene(seed) for seed in range(250)]


@pytest.fixture(scope="module")
def test_scenes():
    return [scene(seed, split="test") for seed in range(250)]


def test_a_seed_is_always_the_same_scene():
    first, again = scene(11), scene(11)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert (first.caption, first.attributes) == (again.caption, again.attributes)
    assert not np.array_equal(first.image, scene(12).image)


def test_arrays_have_the_shapes_and_dtypes_of_the_contract():
    batch = scenes(3, size=48, first_seed=5)
    assert batch["images"].shape == (3, 48, 48, 3) and batch["images"].dtype == np.uint8
    assert batch["labels"].shape == (3, 48, 48) and batch["labels"].dtype == np.int32
    assert batch["captions"].shape == (3,) and batch["captions"].dtype.kind == "U"
    np.testing.assert_array_equal(batch["images"][1], scene(6, 48).image)
    assert batch["attributes"][2] == scene(7).attributes


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_seed_is_the_same_scene_at_64_and_at_256_pixels(split):
    differences, agreements = [], []
    for seed in range(12):
        small, large = scene(seed, 64, split), scene(seed, 256, split)
        assert small.caption == large.caption
        assert small.attributes == large.attributes
        averaged = large.image.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
        differences.append(np.abs(averaged - small.image).mean())
        inner = large.labels.reshape(64, 4, 64, 4)[:, 1:3, :, 1:3]
        agreements.append((inner == small.labels[:, None, :, None]).mean())
    # Measured over 60 scenes: 0.36 of 255 on average, 0.54 at worst. Neighbouring seeds: 40.
    assert np.mean(differences) < 0.5 and max(differences) < 1.0
    assert np.mean(agreements) > 0.97 and min(agreements) > 0.94
    other = np.abs(scene(0, 64, split).image.astype(float) - scene(1, 64, split).image).mean()
    assert other > 10


def test_all_16_classes_occur_and_have_colours_of_their_own(train_scenes):
    assert len(SCENE_CLASSES) == 16 and len(set(map(tuple, SCENE_PALETTE))) == 16
    share = np.bincount(np.concatenate([s.labels.ravel() for s in train_scenes]), minlength=16)
    assert len(share) == 16 and (share > 0).all()


def test_a_caption_names_every_visible_object_and_no_other(train_scenes, test_scenes):
    for drawn in train_scenes + test_scenes:
        named = sorted(NAMED.findall(drawn.caption))
        visible = sorted((o["colour"], o["kind"]) for o in drawn.attributes["objects"])
        assert named == visible, drawn.caption
        words = set(re.findall(r"[a-z]+", drawn.caption))
        assert words & set(KINDS) == {kind for _, kind in visible}


def test_what_a_caption_names_covers_20_pixels_of_the_label_map(train_scenes, test_scenes):
    for drawn in train_scenes + test_scenes:
        counts = np.bincount(drawn.labels.ravel(), minlength=16)
        words = set(re.findall(r"[a-z]+", drawn.caption))
        for word, name in {
            "sun": "sun",
            "moon": "moon",
            "clouds": "cloud",
            "cloud": "cloud",
        }.items():
            assert word not in words or counts[SCENE_CLASSES.index(name)] >= 20, drawn.caption
        if words & {"hills", "mountains"}:
            assert counts[SCENE_CLASSES.index("hill")] >= 20
        ground = drawn.attributes["ground"]
        assert {"grass": {"grass", "grassy"}, "sand": {"sand", "sandy"}, "snow": {"snow", "snowy"},
                "water": {"water"}}[ground] & words  # fmt: skip
        others = {"grass", "sand", "snow", "water"} - {ground}
        assert not others & set(words) and counts[SCENE_CLASSES.index(ground)] >= 20
        for kind in KINDS:
            pixels = [o["visible_pixels"] for o in drawn.attributes["objects"] if o["kind"] == kind]
            assert all(p >= 20 for p in pixels)
            assert sum(pixels) <= counts[SCENE_CLASSES.index(kind)]


def test_time_of_day_is_what_the_caption_says(train_scenes):
    words = {"day": ("day", "daytime"), "sunset": ("sunset",), "dusk": ("dusk", "twilight"),
             "night": ("night",)}  # fmt: skip
    brightness = {time: [] for time in words}
    for drawn in train_scenes:
        said = [t for t, names in words.items()
                if any(re.search(rf"\b{n}\b", drawn.caption) for n in names)]  # fmt: skip
        assert said == [drawn.attributes["time"]], drawn.caption
        brightness[said[0]].append(drawn.image[:8].mean())
    means = [np.mean(brightness[time]) for time in ("day", "dusk", "night")]
    assert means[0] > 2 * means[2] and means[0] > means[1] > means[2]
    red, blue = (np.mean([p.image[20:28, :, c].mean() for p in train_scenes
                          if p.attributes["time"] == "sunset"]) for c in (0, 2))  # fmt: skip
    assert red > blue  # the sky of a sunset is warm


def test_an_object_is_drawn_in_the_colour_that_the_caption_says(train_scenes):
    hues = {"red": 0, "yellow": 47, "green": 131, "blue": 219, "purple": 280}
    checked, right = 0, 0
    for drawn in train_scenes:
        objects = drawn.attributes["objects"]
        for thing in objects:
            if (
                drawn.attributes["time"] != "day"
                or [o["kind"] for o in objects].count(thing["kind"]) > 1
            ):
                continue
            colours = drawn.image[drawn.labels == SCENE_CLASSES.index(thing["kind"])] / 255.0
            hue, saturation = _hue_and_saturation(colours)
            strong = saturation > 0.45
            checked += 1
            if thing["colour"] == "white":
                right += strong.mean() < 0.4
                continue
            distance = {c: np.abs((hue[strong] - h + 180) % 360 - 180) for c, h in hues.items()}
            votes = np.argmin(np.stack(list(distance.values())), axis=0)
            right += tuple(hues)[np.bincount(votes, minlength=5).argmax()] == thing["colour"]
    assert checked > 80 and right / checked > 0.97


def _hue_and_saturation(colours):
    high, low = colours.max(-1), colours.min(-1)
    chroma = np.maximum(high - low, 1e-6)
    r, g, b = colours.T
    hue = np.select(
        [high == r, high == g], [((g - b) / chroma) % 6, (b - r) / chroma + 2], (r - g) / chroma + 4
    )
    return hue * 60, chroma / np.maximum(high, 1e-6)


def test_boxes_lie_where_the_label_map_has_the_kind(train_scenes):
    for drawn in train_scenes[:80]:
        for thing in drawn.attributes["objects"]:
            left, top, right, bottom = np.round(np.array(thing["box"]) * 64).astype(int)
            inside = drawn.labels[top:bottom, left:right] == SCENE_CLASSES.index(thing["kind"])
            assert inside.sum() >= thing["visible_pixels"]
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any()


def test_held_out_combinations_occur_in_test_alone(train_scenes, test_scenes):
    assert 0.05 < len(HELD_OUT) / (len(COLOURS) * len(KINDS)) < 0.15

    def pairs(drawn):
        return {(o["colour"], o["kind"]) for o in drawn.attributes["objects"]}

    for drawn in train_scenes:
        assert not pairs(drawn) & set(HELD_OUT) and not drawn.attributes["unseen"]
    for drawn in test_scenes:
        assert drawn.attributes["unseen"] == bool(pairs(drawn) & set(HELD_OUT))
    shown = set().union(*map(pairs, test_scenes))
    assert shown >= set(HELD_OUT)
    assert 0.05 < np.mean([p.attributes["unseen"] for p in test_scenes]) < 0.5


def test_no_scene_of_train_is_one_of_test(train_scenes, test_scenes):
    train = {drawn.image.tobytes() for drawn in train_scenes}
    assert len(train) == 250 and not train & {drawn.image.tobytes() for drawn in test_scenes}


@pytest.mark.parametrize("size", [16, 37, 64, 100, 130])
def test_any_size_from_16_pixels_works(size):
    drawn = scene(3, size)
    assert drawn.image.shape == (size, size, 3) and drawn.labels.shape == (size, size)
    assert drawn.caption == scene(3).caption


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": 0, "size": 8}, "size"),
        ({"seed": 0, "size": "64"}, "size"),
        ({"seed": 0, "split": "validation"}, "split"),
    ],
)
def test_a_wrong_argument_is_named(arguments, named):
    with pytest.raises(ValueError, match=f"`{named}`.*Received.*Expected"):
        scene(**arguments)


def test_load_gives_the_scenes_themselves_in_order_for_test():
    dataset = load(
        "scenes", "test", batch_size=4, fields=("images", "labels", "captions"), num_examples=10
    )
    batches = list(dataset.as_numpy_iterator())
    assert len(batches) == len(dataset) == 3 and len(batches[-1]["images"]) == 2
    expected = scenes(10, split="test")
    for name in ("images", "labels"):
        got = np.concatenate([b[name] for b in batches])
        assert got.dtype == expected[name].dtype
        np.testing.assert_array_equal(got, expected[name])
    captions = [c.decode() for b in batches for c in b["captions"]]
    assert captions == list(expected["captions"])


def test_training_batches_have_equal_shapes_and_another_order_each_pass():
    def passes():
        dataset = load("scenes", batch_size=4, num_examples=10, seed=3, image_size=32)
        assert len(dataset) == 2
        return [np.concatenate([b["images"] for b in dataset.as_numpy_iterator()]) for _ in "ab"]

    first, second = passes()
    assert first.shape == (8, 32, 32, 3) and not np.array_equal(first, second)
    again = passes()
    np.testing.assert_array_equal(first, again[0])
    np.testing.assert_array_equal(second, again[1])


def test_single_examples_defaults_and_first_seed():
    assert len(load("scenes", batch_size=None)) == 2000
    assert len(load("scenes", "test", batch_size=None)) == 500
    (example,) = load(
        "scenes", "test", batch_size=None, first_seed=7, num_examples=1, cache=False
    ).as_numpy_iterator()
    np.testing.assert_array_equal(example["images"], scene(7, split="test").image)


def test_few_examples_are_one_small_batch_unless_equal_shapes_are_asked_for():
    (batch,) = load("scenes", num_examples=3, batch_size=8).as_numpy_iterator()
    assert len(batch["images"]) == 3
    with pytest.raises(ValueError, match="`batch_size`.*at most 3"):
        load("scenes", num_examples=3, batch_size=8, drop_remainder=True)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"source": "scene"}, "source"),
        ({"source": "scenes:5"}, "source"),
        ({"source": "folder:"}, "source"),
        ({"source": 5}, "source"),
        ({"source": "scenes", "split": "val"}, "split"),
        ({"source": "scenes", "image_size": 0}, "image_size"),
        ({"source": "scenes", "batch_size": 0}, "batch_size"),
        ({"source": "scenes", "num_examples": 0}, "num_examples"),
        ({"source": "scenes", "seed": -1}, "seed"),
        ({"source": "scenes", "fields": ("image",)}, "fields"),
        ({"source": "scenes", "fields": ()}, "fields"),
        ({"source": "scenes", "fields": 3}, "fields"),
        ({"source": "scenes", "fields": ("images", "images")}, "fields"),
        ({"source": "scenes", "min_size": 3}, "min_size"),
        ({"source": "scenes", "first_seed": -3}, "first_seed"),
    ],
)
def test_load_names_the_argument_that_is_wrong(arguments, named):
    with pytest.raises(ValueError, match=f"`{named}`.*Received.*Expected"):
        load(**arguments)


def test_scenes_need_neither_tensorflow_nor_keras_hub():
    code = (
        "import sys, keras_regvq.data as data; data.scenes(2);"
        "assert not {'tensorflow', 'keras_hub', 'tensorflow_datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

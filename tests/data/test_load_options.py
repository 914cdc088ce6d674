"""Sizes that are not square, channels, flips and split "all", for every kind of source."""

import numpy as np
import pytest
from PIL import Image

from keras_regvq.data import from_arrays, load, scene
from tests.data.picture_folders import flat, only, read_all, write

FIELDS = ("images", "labels")


@pytest.fixture
def sources(tmp_path):
    """The same wide pictures and label maps, black and 0 to the left, as a folder and as arrays."""
    labels = np.zeros((12, 32, 64), np.uint8)
    labels[:, :, 32:] = 200
    images = np.repeat(labels[..., None], 3, -1)
    for i in range(12):
        write(tmp_path / "folder" / "images" / f"{i}.png", images[i])
        write(tmp_path / "folder" / "labels" / f"{i}.png", labels[i])
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    return [f"folder:{tmp_path / 'folder'}", f"npz:{tmp_path / 'a.npz'}"]


def test_pictures_are_brought_to_a_height_and_a_width(sources):
    for source in sources:
        examples = read_all(source, "all", image_size=(16, 32), fields=FIELDS)
        for example in examples:
            assert example["images"].shape == (16, 32, 3)
            expected = np.repeat([[0] * 16 + [200] * 16], 16, 0)
            np.testing.assert_array_equal(example["labels"], expected)
        tall = read_all(source, "all", image_size=(32, 16), fields=FIELDS)[0]
        assert tall["images"].shape == (32, 16, 3)  # the centre
        np.testing.assert_array_equal(tall["labels"], np.repeat([[0] * 8 + [200] * 8], 32, 0))
    (batch,) = from_arrays(np.zeros((2, 8, 8, 3), np.uint8), image_size=(4, 6)).as_numpy_iterator()
    assert batch["images"].shape == (2, 4, 6, 3)
    for size in ((32,), (0, 4), (4, 4.0), "32", (1, 2, 3), True):
        with pytest.raises(ValueError, match="`image_size`.*height, width"):
            load(sources[0], image_size=size)


@pytest.mark.parametrize("size", [(32, 64), (64, 32), (48, 48)])
def test_a_scene_is_squeezed_so_that_all_of_it_is_seen(size):
    dataset = load("scenes", "test", size, None, (*FIELDS, "captions"), num_examples=3)
    side = max(size)
    for seed, example in enumerate(dataset.as_numpy_iterator()):
        square = scene(seed, side, "test")
        rows, columns = side // size[0], side // size[1]
        expected = square.image.reshape(size[0], rows, size[1], columns, 3).mean((1, 3))
        assert np.abs(example["images"] - expected).mean() < 4
        assert example["labels"].shape == size
        np.testing.assert_array_equal(
            example["labels"], square.labels[rows // 2 :: rows, columns // 2 :: columns]
        )
        assert example["captions"].decode() == square.caption


def test_grey_is_the_luminance_and_four_channels_keep_what_is_transparent(tmp_path):
    picture = np.zeros((32, 32, 4), np.uint8)
    picture[:, :16] = (255, 0, 0, 255)
    picture[:, 16:] = (0, 0, 200, 51)
    write(tmp_path / "train" / "a.png", picture)
    write(tmp_path / "test" / "b.jpg", flat(50))
    options = {"split": "train"}
    grey = only(tmp_path, channels=1, **options)["images"]
    assert grey.shape == (32, 32, 1)
    assert (grey[:, :16] == 76).all()  # 0.299 * 255
    on_white = np.round(np.array([204, 204, 244]) @ [0.299, 0.587, 0.114])
    assert np.abs(grey[:, 16:].astype(int) - on_white).max() <= 1
    np.testing.assert_array_equal(only(tmp_path, channels=4, **options)["images"], picture)
    opaque = only(tmp_path, channels=4, split="test")["images"]
    assert (opaque[..., 3] == 255).all() and np.abs(opaque[..., :3].astype(int) - 50).max() < 3


def test_arrays_and_scenes_have_the_channels_that_are_asked_for(tmp_path):
    clear = np.full((3, 8, 8, 4), (100, 100, 100, 0), np.uint8)
    for images, channels, expected in (
        (clear, 3, (255, 255, 255)),
        (clear, 1, (255,)),
        (clear, 4, (100, 100, 100, 0)),
        (clear[..., :3], 4, (100, 100, 100, 255)),
        (clear[..., :1], 1, (100,)),
        (clear[..., :1].astype(np.float32) / 255, 4, (100, 100, 100, 255)),
    ):
        (batch,) = from_arrays(images, channels=channels).as_numpy_iterator()
        np.testing.assert_array_equal(batch["images"][0, 0, 0], expected)
        np.savez(tmp_path / "a.npz", images=images)
        (example,) = read_all(f"npz:{tmp_path / 'a.npz'}", "all", image_size=8, channels=channels)[
            :1
        ]
        np.testing.assert_array_equal(example["images"][0, 0], expected)
    (grey,) = load("scenes", "test", 32, 2, num_examples=2, channels=1).as_numpy_iterator()
    first = np.asarray(Image.fromarray(scene(0, 32, "test").image).convert("L"))
    np.testing.assert_array_equal(grey["images"][0, :, :, 0], first)
    for wrong in (2, "3", True, None):
        with pytest.raises(ValueError, match="`channels`"):
            load("scenes", channels=wrong)


def test_half_of_the_examples_are_flipped_with_their_label_maps(sources):
    for source in sources:
        options = {"shuffle": True, "flip": True, "image_size": (32, 64), "fields": FIELDS}
        dataset = load(source, "all", batch_size=None, seed=3, **options)
        passes = [list(dataset.as_numpy_iterator()) for _ in range(6)]
        left = [[int(e["labels"][0, 0]) for e in one] for one in passes]
        assert 20 < sum(map(bool, sum(left, []))) < 52 and left[0] != left[1]
        for example in sum(passes, []):
            np.testing.assert_array_equal(example["images"][..., 0], example["labels"])
        again = load(source, "all", batch_size=None, seed=3, **options)
        assert [int(e["labels"][0, 0]) for e in again.as_numpy_iterator()] == left[0]
    plain = [
        e["labels"][0, 0] for e in read_all(sources[0], "all", image_size=(32, 64), fields=FIELDS)
    ]
    assert not any(plain)
    with pytest.raises(ValueError, match="`flip`"):
        load(sources[0], flip="yes")


def test_all_is_every_example_of_arrays_and_of_scenes(tmp_path):
    images = np.arange(25, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)

    def values(**arrays):
        np.savez(tmp_path / "a.npz", **arrays)
        examples = read_all(f"npz:{tmp_path / 'a.npz'}", "all", image_size=8)
        return [int(e["images"][0, 0, 0]) for e in examples]

    assert values(images=images) == list(range(25))
    assert values(images=images, split=np.arange(25) % 2) == list(range(25))
    assert values(images=images[:20], images_test=images[20:]) == list(range(25))
    with pytest.raises(ValueError, match="`images`.*arrays of one shape.*a.npz"):
        values(images=images, images_test=images[:, :4])
    dataset = load("scenes", "all", 32, None, num_examples=10)
    drawn = [example["images"] for example in dataset.as_numpy_iterator()]
    expected = [scene(i, 32, "train").image for i in range(8)]
    expected[4:4] = [scene(0, 32, "test").image]
    expected.append(scene(1, 32, "test").image)
    np.testing.assert_array_equal(drawn, expected)
    assert len(load("scenes", "all", batch_size=None)) == 2500

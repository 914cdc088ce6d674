"""Arrays at hand and .npz files: splits, conversions, and every kind of wrong array."""

import numpy as np
import pytest

from keras_regvq.data import from_arrays, load

FIELDS = ("images", "labels", "captions")


def numbered(count, size=8):
    """Images and label maps full of their own number, and captions that say it."""
    images = np.repeat(np.arange(count, dtype=np.uint8), size * size * 3)
    return {
        "images": images.reshape(count, size, size, 3),
        "labels": np.repeat(np.arange(count), size * size).reshape(count, size, size),
        "captions": np.array([f"number {i}" for i in range(count)]),
    }


def numbers(source, split, **options):
    options = {"image_size": 8, "batch_size": None, "fields": FIELDS, **options}
    found = []
    for example in load(source, split, **options).as_numpy_iterator():
        values = {
            int(value[:1, :1].flat[0]) for name, value in example.items() if name != "captions"
        }
        values.add(int(example["captions"].decode().split()[1]))
        assert len(values) == 1  # the fields belong together
        found.append(values.pop())
    return found


def test_every_tenth_example_of_a_plain_file_is_the_test_split(tmp_path):
    np.savez(tmp_path / "a.npz", **numbered(25))
    source = f"npz:{tmp_path / 'a.npz'}"
    assert numbers(source, "test") == [9, 19]
    assert sorted(numbers(source, "train")) == [i for i in range(25) if i not in (9, 19)]
    assert numbers(source, "train", num_examples=3, shuffle=False) == [0, 1, 2]


@pytest.mark.parametrize("kind", ["words", "bytes", "integers", "booleans"])
def test_an_array_named_split_decides(tmp_path, kind):
    in_test = np.arange(12) % 3 == 1
    split = np.where(in_test, "test", "train")
    split = {"words": split, "bytes": split.astype("S"), "integers": in_test.astype(int),
             "booleans": in_test}[kind]  # fmt: skip
    np.savez_compressed(tmp_path / "a.npz", **numbered(12), split=split)
    source = f"npz:{tmp_path / 'a.npz'}"
    assert numbers(source, "test") == [1, 4, 7, 10]
    assert sorted(numbers(source, "train")) == [0, 2, 3, 5, 6, 8, 9, 11]


def test_arrays_of_their_own_for_the_test_split_are_used(tmp_path):
    train = numbered(11)
    test = {f"{name}_test": array[::-1] for name, array in numbered(3).items()}
    np.savez(tmp_path / "a.npz", **train, **test)
    source = f"npz:{tmp_path / 'a.npz'}"
    assert numbers(source, "test") == [2, 1, 0]
    assert sorted(numbers(source, "train")) == list(range(11))


def test_images_are_scaled_and_cropped_with_their_labels(tmp_path):
    images = np.zeros((10, 16, 32, 3), np.uint8)
    images[:, :, 16:] = 255
    np.savez(tmp_path / "a.npz", images=images, labels=images[..., 0].astype(np.int64))
    source = f"npz:{tmp_path / 'a.npz'}"
    (example,) = load(source, "test", 8, None, ("images", "labels")).as_numpy_iterator()
    assert example["images"].shape == (8, 8, 3) and example["labels"].dtype == np.int32
    np.testing.assert_array_equal(example["labels"], np.repeat([[0] * 4 + [255] * 4], 8, 0))
    assert (example["images"][:, :2] == 0).all() and (example["images"][:, -2:] == 255).all()


def test_floats_become_uint8_by_rounding_and_one_channel_becomes_three():
    floats = np.array([0.0, 0.5 / 255, 1.4 / 255, 1.6 / 255, 1.0], np.float32)
    images = np.broadcast_to(floats[:, None, None, None], (5, 2, 2, 1))
    (batch,) = from_arrays(images, shuffle=False).as_numpy_iterator()
    assert batch["images"].shape == (5, 2, 2, 3) and batch["images"].dtype == np.uint8
    np.testing.assert_array_equal(batch["images"][:, 0, 0, 2], [0, 1, 1, 2, 255])


def test_from_arrays_has_the_fields_that_are_given_and_their_size():
    arrays = numbered(5, size=6)
    dataset = from_arrays(**arrays, batch_size=2, shuffle=False)
    batches = list(dataset.as_numpy_iterator())
    assert len(dataset) == 3 and set(batches[0]) == set(FIELDS)
    np.testing.assert_array_equal(np.concatenate([b["images"] for b in batches]), arrays["images"])
    np.testing.assert_array_equal(np.concatenate([b["labels"] for b in batches]), arrays["labels"])
    assert set(dataset.element_spec["images"].shape[1:]) == {6, 3}
    shuffled = from_arrays(arrays["images"], batch_size=2)
    assert len(shuffled) == 2 and set(shuffled.element_spec) == {"images"}
    resized = from_arrays(**arrays, image_size=4, batch_size=None)
    assert resized.element_spec["labels"].shape == (4, 4)


def test_several_captions_of_an_image_are_all_drawn():
    captions = [["one", "two", "three"]] * 2
    dataset = from_arrays(numbered(2)["images"], captions=captions, batch_size=None, seed=1)
    drawn = {e["captions"] for _ in range(12) for e in dataset.as_numpy_iterator()}
    assert drawn == {b"one", b"two", b"three"}


def test_label_maps_and_captions_can_be_read_without_images(tmp_path):
    arrays = numbered(10)
    np.savez(tmp_path / "a.npz", labels=arrays["labels"], captions=arrays["captions"])
    source = f"npz:{tmp_path / 'a.npz'}"
    (example,) = load(source, "test", 8, None, ("labels", "captions")).as_numpy_iterator()
    assert (example["labels"] == 9).all() and example["captions"] == b"number 9"
    (example,) = load(source, "test", 8, None, "captions").as_numpy_iterator()
    assert set(example) == {"captions"}


GOOD = numbered(4)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"images": GOOD["images"][0]}, "images"),
        ({"images": GOOD["images"][..., :2]}, "images"),
        ({"images": GOOD["images"][:0]}, "images"),
        ({"images": GOOD["images"].astype(np.int32)}, "images"),
        ({"images": GOOD["images"].astype(np.float32) * 60}, "images"),
        ({"images": np.full((4, 8, 8, 3), np.nan, np.float32)}, "images"),
        ({"images": np.full((4, 8, 8, 3), -0.5)}, "images"),
        ({"images": "text"}, "images"),
        ({"labels": GOOD["labels"].astype(float)}, "labels"),
        ({"labels": GOOD["labels"][..., None]}, "labels"),
        ({"labels": GOOD["labels"][:, :4]}, "labels"),
        ({"labels": GOOD["labels"].astype("int64") + 2**32}, "labels"),
        ({"labels": GOOD["labels"][:3]}, "images and labels and captions"),
        ({"captions": GOOD["captions"][:3]}, "images and labels and captions"),
        ({"captions": np.arange(4)}, "captions"),
        ({"captions": "one caption"}, "captions"),
        ({"captions": np.array([b"a", b"b", b"c", b"caf\xe9"])}, "captions"),
        ({"image_size": 0}, "image_size"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": None}, "seed"),
    ],
)
def test_an_array_that_does_not_fit_is_named(changed, named):
    with pytest.raises(ValueError, match=f"`{named}`.*Received.*Expected"):
        from_arrays(**{**GOOD, **changed})


@pytest.mark.parametrize(
    ("arrays", "named", "received"),
    [
        ({"labels": GOOD["labels"]}, "source", "with labels"),
        ({**GOOD, "split": np.zeros(3, int)}, "split", "shape"),
        ({**GOOD, "split": np.full(4, 2)}, "split", "2"),
        ({**GOOD, "split": np.full(4, "val")}, "split", "val"),
        ({**GOOD, "split": np.zeros(4)}, "split", "0"),
        ({**GOOD, "split": np.ones(4, int)}, "split", "no example"),
        ({**GOOD, "labels": GOOD["labels"][:2]}, "source", "lengths"),
        ({**GOOD, "captions": GOOD["captions"].astype(object)}, "source", "pickle"),
        ({**GOOD, "images_test": GOOD["images"]}, "captions", None),
        ({**GOOD, "images": np.uint8(3)}, "images", "shape"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error(tmp_path, arrays, named, received):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    split, fields = "train", FIELDS
    if "images_test" in arrays:  # the test split lacks two of its arrays
        split, named, received = "test", "source", "with captions, images"
    if arrays["images"].ndim == 0 if "images" in arrays else False:
        fields = ("images",)
    with pytest.raises(ValueError, match=f"`{named}`.*{received}.*Expected"):
        load(f"npz:{path}", split, 8, fields=fields)


def test_a_file_that_is_no_npz_is_an_error(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "b.npz").write_text("no archive")
    (tmp_path / "c.npz").write_bytes(b"")
    np.savez_compressed(tmp_path / "d.npz", **numbered(200))
    data = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(data[: len(data) // 2])
    for name in ("missing.npz", "a.npy", "b.npz", "c.npz", "d.npz"):
        with pytest.raises(ValueError, match=f"`source`.*{name}.*npz file"):
            load(f"npz:{tmp_path / name}")
    with pytest.raises(ValueError, match="`data_dir`.*no further argument"):
        load(f"npz:{tmp_path / 'd.npz'}", data_dir="x")


def test_a_small_file_without_a_test_split_says_so(tmp_path):
    np.savez(tmp_path / "a.npz", **numbered(9))
    with pytest.raises(ValueError, match="`split`.*'test', for which .*a.npz has no example"):
        load(f"npz:{tmp_path / 'a.npz'}", "test", 8)

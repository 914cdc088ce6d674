"""Held-out folders are known by their names, and never trained on."""

from pathlib import Path

import numpy as np
import pytest

from keras_regvq.data.sources.folders import FolderExamples
from keras_regvq.data.sources.split_names import find_split_folders
from tests.data.picture_folders import flat, only, read_all, write


def values(folder, split, **options):
    """The value that each image is full of."""
    return sorted(int(e["images"][0, 0, 0]) for e in read_all(f"folder:{folder}", split, **options))


@pytest.mark.parametrize(
    "names",
    [
        *(("train", name) for name in ("valid", "Val", "dev", "Test", "eval", "Evaluation")),
        *(("train", name) for name in ("testing", "holdout", "held_out", "hold-out", "VALIDATION")),
        *(("Training", "val_set"), ("TRAIN", "test"), ("train2017", "val2017")),
        *(("train_images", "test_images"), ("trainset", "testset"), ("faces_trn", "faces_dev")),
    ],
)
@pytest.mark.parametrize("place", ["", "images", "my_data", "my_data/birds"])
def test_held_out_images_are_not_trained_on(tmp_path, names, place):
    for i in range(6):
        for k, name in enumerate(names):
            write(tmp_path / place / name / f"{'ab'[k]}{i}.png", flat(10 * i + k))
    options = (32, ("images",))
    files = {s: FolderExamples(tmp_path, s, *options)._files for s in ("train", "test")}
    assert sorted(file.name for file in files["train"]) == [f"a{i}.png" for i in range(6)]
    assert sorted(file.name for file in files["test"]) == [f"b{i}.png" for i in range(6)]


def test_of_several_held_out_folders_test_is_taken_and_the_other_is_told_of(tmp_path):
    for value, name in enumerate(("train", "valid", "test")):
        write(tmp_path / name / "x.png", flat(value))
    for split, value in (("train", 0), ("test", 2)):
        expected = r'"train" is train/, "test" is test/, and valid/ left out'
        with pytest.warns(UserWarning, match=f"1 image is taken for split '{split}'.*{expected}"):
            assert values(tmp_path, split) == [value]
    assert values(tmp_path, "all") == [0, 1, 2]


def test_a_folder_of_one_split_alone_says_what_happens(tmp_path):
    for i in range(30):
        write(tmp_path / "train" / f"{i}.png", flat(i))
    counts = {}
    for split in ("train", "test"):
        with pytest.warns(UserWarning, match="train/ names a split, but there is none.*CRC-32"):
            counts[split] = values(tmp_path, split)
    assert sorted(counts["train"] + counts["test"]) == list(range(30))


def test_images_beside_the_folders_of_splits_are_left_out_by_name(tmp_path):
    write(tmp_path / "train" / "a.png", flat(1))
    write(tmp_path / "test" / "b.png", flat(2))
    write(tmp_path / "extra" / "c.png", flat(3))
    write(tmp_path / "d.png", flat(4))
    with pytest.warns(UserWarning, match=r"2 beside the folders of splits \(d.png, extra/c.png\)"):
        assert values(tmp_path, "train") == [1]


def test_classes_that_are_called_like_splits_are_no_splits(tmp_path):
    for value, name in enumerate(("bus", "train", "test tube")):
        for i in range(10):
            write(tmp_path / name / f"{i}.png", flat(10 * value + i))
    with pytest.warns(UserWarning, match=r"'\w+'. train/ names a split"):
        found = values(tmp_path, "train") + values(tmp_path, "test")
    assert sorted(found) == list(range(30))


def test_every_class_may_have_its_own_splits(tmp_path):
    for value, place in enumerate(("cats/train", "cats/val", "dogs/train", "dogs/val")):
        write(tmp_path / place / "x.png", flat(value))
    assert values(tmp_path, "train") == [0, 2] and values(tmp_path, "test") == [1, 3]
    assert values(tmp_path, "all") == [0, 1, 2, 3]


def test_names_differ_in_the_word_of_the_split_alone():
    splits, alone = find_split_folders(["cat_train", "cat_val", "dog_train", "dog_test", "other"])
    assert splits.train == ("cat_train", "dog_train") and splits.test == ("cat_val", "dog_test")
    assert find_split_folders(["cat_train", "dog_val"]) == (None, [])
    assert find_split_folders(["training", "validation", "testing"])[0].test == ("testing",)
    assert find_split_folders(["trains", "tested", "developer"]) == (None, [])


def test_all_has_every_image_in_one_order_with_its_label_map(tmp_path):
    for value, split in enumerate(("train", "test")):
        for i in range(4):
            number = 4 * value + i
            write(tmp_path / split / "images" / f"{i}.png", flat(number))
            labels = np.full((32, 32), number, np.uint8)
            write(tmp_path / split / "labels" / f"{i}.png", labels)
    examples = read_all(f"folder:{tmp_path}", "all", fields=("images", "labels"))
    numbers = [int(e["images"][0, 0, 0]) for e in examples]
    assert sorted(numbers) == list(range(8))
    assert all((e["labels"] == n).all() for e, n in zip(examples, numbers, strict=True))
    again = read_all(f"folder:{tmp_path}", "all", num_examples=5)
    assert [int(e["images"][0, 0, 0]) for e in again] == numbers[:5]
    (tmp_path / "flat").mkdir()
    for i in range(12):
        write(tmp_path / "flat" / f"{i}.png", flat(i))
    assert values(tmp_path / "flat", "all") == list(range(12))


def test_label_maps_of_split_folders_may_lie_above_them(tmp_path):
    for value, split in enumerate(("train", "val")):
        write(tmp_path / split / "x.png", flat(value))
        write(tmp_path / "Masks" / split / "x.PNG", np.full((32, 32), value, np.uint8))
    for value, split in enumerate(("train", "test")):
        example = only(tmp_path, split=split, fields=("images", "labels"))
        assert (example["labels"] == value).all() and (example["images"] == value).all()


def test_an_order_of_files_does_not_depend_on_the_system(tmp_path):
    names = [f"{i}.png" for i in range(20)]
    for folder, order in (("a", names), ("b", names[::-1])):
        for name in order:
            write(tmp_path / folder / "x" / name, flat(0))
    first, second = (FolderExamples(tmp_path / f, "all", 32, ("images",))._files for f in "ab")
    assert first == second and first[0].parent == Path("x")

"""Small folders of the layout of CUB-200-2011 with captions."""

import numpy as np
import pytest
from PIL import Image

from keras_regvq.data import load

BIRDS = {  # grey, captions
    "001.Albatross/Albatross_1": (10, ["a grey bird", "a bird that flies"]),
    "001.Albatross/Albatross_2": (20, ["a second bird"]),
    "002.Auklet/Auklet_1": (30, ["a small bird", "", "a bird with an orange beak"]),
}


@pytest.fixture
def folder(tmp_path):
    for name, (grey, captions) in BIRDS.items():
        picture, text = tmp_path / f"images/{name}.jpg", tmp_path / f"text_c10/{name}.txt"
        for path in (picture, text):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 32, 3), grey, np.uint8)).save(picture)
        text.write_text("\n".join(captions) + "\n")
    return tmp_path


def read(folder, split, **options):
    options = {"image_size": 32, "batch_size": None, "fields": ("images", "captions")} | options
    examples = load(f"cub:{folder}", split, **options).as_numpy_iterator()
    return {(int(e["images"][0, 0, 0]), e["captions"].decode()) for e in examples}


def test_the_splits_are_those_of_the_classes_that_reed_et_al_chose(folder):
    (folder / "trainvalclasses.txt").write_text("001.Albatross\n")
    (folder / "testclasses.txt").write_text("002.Auklet\n")
    train = read(folder, "train")
    assert {grey for grey, _ in train} == {10, 20}
    assert (20, "a second bird") in train
    ((grey, caption),) = read(folder, "test")
    assert grey == 30 and caption in BIRDS["002.Auklet/Auklet_1"][1]


def test_without_them_the_data_sets_own_split_counts(folder):
    names = "".join(f"{number} {name}.jpg\n" for number, name in enumerate(BIRDS, 1))
    (folder / "images.txt").write_text(names)
    (folder / "train_test_split.txt").write_text("1 1\n2 0\n3 1\n")
    assert {grey for grey, _ in read(folder, "train")} == {10, 30}
    assert {grey for grey, _ in read(folder, "test")} == {20}


def test_each_pass_draws_one_of_the_captions(folder):
    (folder / "trainvalclasses.txt").write_text("002.Auklet\n")
    (folder / "testclasses.txt").write_text("001.Albatross\n")
    drawn = {caption for seed in range(8) for _, caption in read(folder, "train", seed=seed)}
    assert drawn == {"a small bird", "a bird with an orange beak"}


def test_a_bird_without_captions_is_skipped(folder):
    (folder / "trainvalclasses.txt").write_text("001.Albatross\n")
    (folder / "testclasses.txt").write_text("002.Auklet\n")
    (folder / "text_c10/001.Albatross/Albatross_1.txt").unlink()
    with pytest.warns(UserWarning, match="1 without a caption"):
        assert {grey for grey, _ in read(folder, "train")} == {20}


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(ValueError, match="CUB_200_2011"):
        load(f"cub:{folder / 'images'}")
    (folder / "text_c10").rename(folder / "elsewhere")
    with pytest.raises(ValueError, match="text_c10"):
        load(f"cub:{folder}", fields=("images", "captions"))

"""The recipe that makes a folder of photographs, with made-up packages and no network."""

import importlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import keras_regvq

LIST = """
[walls]
folder = "usr/share/walls"
kind = "photograph"
licence = "CC0-1.0"
author = "Ann"
files = [
  { file = "reds.png" },
  { file = "greens.png", split = "test", author = "Ben", licence = "CC-BY-4.0" },
]

[stamps]
folder = "usr/share/stamps"
kind = "stamp"
licence = "GPL-2.0"
author = "Cid"
files = [ { file = "blue.png" } ]
"""
SMALL = ["--crops", "50", "--test-crops", "6", "--image-size", "16"]


@pytest.fixture
def recipe(monkeypatch, tmp_path):
    module = importlib.import_module("collect_photographs")
    path = tmp_path / "list.toml"
    path.write_text(LIST)
    read_sources = module.read_sources
    monkeypatch.setattr(module, "read_sources", lambda: read_sources(path))
    return module


@pytest.fixture
def packages(tmp_path):
    """Folders of two unpacked packages: reds and greens of varied light, a half blue stamp."""
    folder = tmp_path / "packages"
    light = np.random.default_rng(0).integers(100, 200, (40, 60)).astype("uint8")
    for name, channel in (("reds", 0), ("greens", 1)):
        pixels = np.zeros((40, 60, 3), "uint8")
        pixels[..., channel] = light
        path = folder / f"walls/usr/share/walls/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    stamp = np.zeros((20, 20, 4), "uint8")
    stamp[:] = (255, 255, 0, 0)  # transparent yellow, which must not show
    stamp[5:15, 5:15] = (0, 0, 255, 255)
    path = folder / "stamps/usr/share/stamps/blue.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(stamp).save(path)
    return folder


def read(folder):
    files = sorted(folder.glob("*.png"))
    assert [path.name for path in files] == [f"{n:05}.png" for n in range(len(files))]
    return np.stack([np.asarray(Image.open(path)) for path in files])


@pytest.mark.parametrize("plain", [None, 0.6])
def test_each_split_holds_crops_of_its_own_photographs(plain, recipe, packages, tmp_path):
    more = [] if plain is None else ["--plain", str(plain)]
    recipe.main(["--output", "photographs", "--packages", str(packages), *SMALL, *more])
    train, test = (read(tmp_path / "photographs" / split) for split in ("train", "test"))
    assert train.shape == (50, 16, 16, 3) and test.shape == (6, 16, 16, 3)
    assert test[..., 1].min() > 80 and not test[..., [0, 2]].any()
    reds = (train[..., 0] > 80).all((1, 2)) & ~train[..., 1:].any((1, 2, 3))
    photographs = importlib.import_module("shared.photographs")
    others = round(photographs.STAMPS * 50) + round((plain or photographs.PLAIN) * 50)
    assert reds.sum() == 50 - others
    page = (tmp_path / "photographs" / "SOURCES.md").read_text()
    assert "| walls | usr/share/walls/greens.png | photograph | test | Ben | CC-BY-4.0 |" in page


def test_the_package_reads_the_folder_with_its_splits(recipe, packages):
    recipe.main(["--output", "photographs", "--packages", str(packages), *SMALL])
    counts = {}
    for split in ("train", "test"):
        data = keras_regvq.data.load(
            "folder:photographs", split, 16, shuffle=False, drop_remainder=False
        )
        counts[split] = sum(len(batch["images"]) for batch in data.as_numpy_iterator())
    assert counts == {"train": 50, "test": 6}


def test_a_seed_gives_the_same_files_and_another_seed_others(recipe, packages, tmp_path):
    for name, seed in (("first", 0), ("second", 0), ("third", 1)):
        recipe.main(["--output", name, "--packages", str(packages), "--seed", str(seed), *SMALL])
    first, second, third = (
        read(tmp_path / name / "train") for name in ("first", "second", "third")
    )
    np.testing.assert_array_equal(first, second)
    assert (first != third).any()


def test_what_is_transparent_in_a_stamp_shows_the_background(packages):
    module = importlib.import_module("shared.photographs")
    stamp = Image.open(packages / "stamps/usr/share/stamps/blue.png")
    background = Image.new("RGB", (16, 16), (200, 0, 0))
    for seed in range(5):
        pixels = module.put_on(stamp, background, np.random.default_rng(seed))
        pixels = np.asarray(pixels).astype(int)
        # Every pixel is a mixture of red and blue: the transparent yellow's green is nowhere.
        assert pixels[..., 1].max() <= 1
        assert pixels[..., 2].max() > 200 and (pixels == (200, 0, 0)).all(-1).any()


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb here")
def test_a_deb_file_is_unpacked(recipe, packages, tmp_path):
    for name in ("walls", "stamps"):
        control = packages / name / "DEBIAN/control"
        control.parent.mkdir()
        control.write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\n"
            "Description: pictures\n"
        )
        archive = tmp_path / "debs" / f"{name}_1_all.deb"
        archive.parent.mkdir(exist_ok=True)
        subprocess.run(
            ["dpkg-deb", "-b", packages / name, archive], check=True, capture_output=True
        )
    recipe.main(["--output", "photographs", "--packages", str(tmp_path / "debs"), *SMALL])
    assert len(read(tmp_path / "photographs" / "train")) == 50


def test_what_cannot_be_done_is_refused(recipe, packages, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="packages.*walls, stamps"):
        recipe.main(["--packages", "wall", *SMALL])
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "diary.txt").write_text("dear")
    with pytest.raises(ValueError, match="output"):
        recipe.main(["--output", str(mine), "--packages", str(packages), *SMALL])
    assert (mine / "diary.txt").read_text() == "dear"
    (packages / "walls/usr/share/walls/reds.png").unlink()
    with pytest.raises(ValueError, match="walls holds no usr/share/walls/reds.png"):
        recipe.main(["--output", "photographs", "--packages", str(packages), *SMALL])
    assert not (tmp_path / "photographs").exists()
    monkeypatch.setattr(sys.modules["shutil"], "which", lambda name: None)
    with pytest.raises(ValueError, match="no apt-get"):
        recipe.main(["--packages", "walls", *SMALL])


def test_the_list_names_each_picture_once_with_author_and_licence():
    module = importlib.import_module("shared.photographs")
    sources = module.read_sources()
    assert len({(source.package, source.file) for source in sources}) == len(sources)
    assert all(source.author and source.licence for source in sources)
    assert {source.kind for source in sources} == set(module.KINDS)
    photographs = [source for source in sources if source.kind == "photograph"]
    held_out = [source for source in photographs if source.split == "test"]
    assert 0.12 < len(held_out) / len(photographs) < 0.25
    assert {source.split for source in sources} == {"train", "test"}

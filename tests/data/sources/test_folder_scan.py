"""What in a folder is taken as a picture, and what is left out by name."""

import os
import socket

import numpy as np
import pytest
from PIL import Image

from keras_regvq.data import load
from keras_regvq.data.sources import folder_scan
from keras_regvq.data.sources.folder_scan import find_pictures
from keras_regvq.data.sources.folders import FolderExamples
from tests.data.picture_folders import flat, only, read_all, write

SUFFIXES = (".png", ".PNG", ".jpg", ".JPEG", ".jfif", ".JPE", ".avif", ".jp2", ".j2k", ".webp")
SUFFIXES += (".bmp", ".gif", ".tif", ".TIFF", ".ppm", ".pgm")


def test_pictures_of_every_usual_suffix_are_read(tmp_path):
    for suffix in SUFFIXES:
        write(tmp_path / f"a{suffix}", flat(99))
    examples = read_all(f"folder:{tmp_path}", "all", min_size=1)
    assert len(examples) == len(SUFFIXES)
    assert all(abs(e["images"].astype(int) - 99).max() <= 3 for e in examples)


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".png", "PNG"), (".PNG", "PNG"), (".tif", "TIFF"), (".TIFF", "TIFF"), (".bmp", "BMP"),
     (".GIF", "GIF")],
)  # fmt: skip
def test_label_maps_of_every_usual_suffix_are_read(split_folder, suffix, kind):
    labels = (np.arange(32 * 32).reshape(32, 32) % 7).astype(np.uint8)
    write(split_folder / "test" / "images" / "a.jpg", flat(0))
    path = split_folder / "test" / "labels" / f"a{suffix}"
    path.parent.mkdir()
    Image.fromarray(labels).save(path, kind)
    example = only(split_folder, fields=("images", "labels"))
    np.testing.assert_array_equal(example["labels"], labels)


def test_a_label_map_that_is_no_picture_is_told_of_as_such(split_folder):
    for name in "ab":
        write(split_folder / "test" / "images" / f"{name}.png", flat(ord(name)))
        write(split_folder / "test" / "labels" / f"{name}.png", np.zeros((32, 32), np.uint8))
    (split_folder / "test" / "labels" / "b.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"1 whose label map is unreadable \(b.png\)"):
        only(split_folder, fields=("labels",))


def test_hidden_folders_and_files_are_left_out_by_name(tmp_path):
    for name in ("train/a.jpg", "test/b.jpg", "train/.ipynb_checkpoints/a-checkpoint.jpg",
                 "train/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "train/.thumbnails/x.png",
                 "train/__MACOSX/y.png", "train/#recycle/z.png", "train/lost+found/q.png",
                 "train/.git/deep/er/r.png", "train/._a.jpg", "train/.b.png"):  # fmt: skip
        write(tmp_path / name, flat(5))
    with pytest.warns(UserWarning) as caught:
        examples = FolderExamples(tmp_path, "train", 32, ("images",))
    assert [file.as_posix() for file in examples._files] == ["a.jpg"]
    (warning,) = caught
    assert "1 image is taken for split 'train'" in str(warning.message)
    assert "7 in hidden folders (#recycle/z.png, " in str(warning.message)
    assert "2 hidden (._a.jpg, .b.png)" in str(warning.message)


def test_a_folder_that_is_itself_inside_a_hidden_one_is_read(tmp_path):
    write(tmp_path / ".cache" / "labels" / "a.png", flat(5))
    assert len(read_all(f"folder:{tmp_path / '.cache' / 'labels'}", "all")) == 1


@pytest.mark.parametrize("name", ["masks", "labels", "Annotations", "segmentation", "label_maps"])
def test_label_maps_inside_a_folder_of_images_are_no_images(tmp_path, name):
    for split in ("train", "val"):
        write(tmp_path / split / "birds" / "a.jpg", flat(9))
        write(tmp_path / split / "birds" / name / "a.png", np.zeros((32, 32), np.uint8))
    with pytest.warns(UserWarning, match=rf"1 in folders of label maps \(birds/{name}/a.png\)"):
        (example,) = read_all(f"folder:{tmp_path}", "train")
    assert abs(int(example["images"].max()) - 9) <= 1


def test_pictures_that_are_not_read_are_named(tmp_path):
    write(tmp_path / "a.png", flat(1))
    for name in ("b.HEIC", "c.svg", "d.psd"):
        (tmp_path / name).write_bytes(b"something")
    write(tmp_path / "e.png", flat(2))
    (tmp_path / "e.png").rename(tmp_path / "e.jpg_large")
    (tmp_path / "README").write_text("no picture")
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.warns(UserWarning) as caught:
        assert len(read_all(f"folder:{tmp_path}", "all")) == 1
    message = str(caught[0].message)
    assert "3 of a kind that is not read (b.HEIC, c.svg, d.psd)" in message
    assert "1 without an image file extension (e.jpg_large)" in message
    assert "README" not in message and "notes" not in message


def test_links_pipes_and_names_that_cannot_be_used_stop_nothing(tmp_path):
    write(tmp_path / "train" / "a.png", flat(1))
    folder = tmp_path / "train"
    (folder / "loop").symlink_to(folder)
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "link.png").symlink_to("a.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    with open(os.fsencode(folder) + b"/b\xff.png", "wb") as file:
        file.write((folder / "a.png").read_bytes())
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s.png"))
        with pytest.warns(UserWarning) as caught:
            assert len(read_all(f"folder:{folder}", "all")) == 2  # a and the link to it
    message = str(caught[0].message)
    for part in (
        "1 in links to folders that are read already (loop/)",
        "1 that cannot be opened (gone.png)",
        "2 that are no regular files (pipe.png, s.png)",
        "1 whose name is not UTF-8 (b\\xff.png)",
    ):
        assert part in message, message


def test_linked_folders_are_read_once(tmp_path):
    write(tmp_path / "elsewhere" / "a.png", flat(1))
    (tmp_path / "data").mkdir()
    for name in ("one", "two"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere")
    files, left_out = find_pictures(tmp_path / "data")
    assert [file.as_posix() for file in files] == ["one/a.png"]
    assert left_out == {"in links to folders that are read already": ["two/"]}


def test_a_folder_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    write(tmp_path / "a.png", flat(1))
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(folder_scan.os, "scandir", guarded)
    with pytest.warns(UserWarning, match=r"1 in folders that cannot be opened \(locked/\)"):
        assert len(load(f"folder:{tmp_path}", "all", 32)) == 1


def test_a_postscript_file_called_png_is_skipped_and_starts_nothing(tmp_path, monkeypatch):
    import subprocess

    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *command, **_: started.append(command))
    write(tmp_path / "a.png", flat(1))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\nshowpage\n%%EOF\n"
    (tmp_path / "x.png").write_bytes(eps)
    for verify in (False, True):
        with pytest.warns(UserWarning, match=r"1 unreadable \(x.png\)"):
            assert len(read_all(f"folder:{tmp_path}", "all", verify=verify)) == 1
    assert not started


def test_pictures_of_too_many_pixels_are_left_out(tmp_path):
    write(tmp_path / "a.png", flat(1))
    write(tmp_path / "big.png", flat(1, 64, 65))
    with pytest.warns(UserWarning, match=r"1 of too many pixels \(big.png\)"):
        assert len(read_all(f"folder:{tmp_path}", "all", max_pixels=64 * 64)) == 1
    with pytest.raises(ValueError, match="`max_pixels`"):
        load(f"folder:{tmp_path}", max_pixels=0)

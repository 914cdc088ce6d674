"""Files of a folder that belong together are replaced together."""

import os

import pytest

from keras_regvq.files import updating
from keras_regvq.files.updating import updating_directory


def test_two_files_are_replaced_and_the_others_stay(tmp_path):
    folder = tmp_path / "model"
    (folder / "inside").mkdir(parents=True)
    for name in ("config", "weights", "notes", "inside/more"):
        (folder / name).write_text("old")
    with updating_directory(folder, ("config", "weights")) as part:
        for name in ("config", "weights"):
            (part / name).write_text("new")
        assert (folder / "config").read_text() == "old"
    found = {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}
    assert found == {"config": "new", "weights": "new", "notes": "old", "inside/more": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_after_a_failure_all_is_as_it_was(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config").write_text("old")
    update = updating_directory(tmp_path / "model", ("config", "weights"))
    with pytest.raises(RuntimeError), update as part:
        (part / "weights").write_text("new")
        raise RuntimeError
    assert (tmp_path / "model" / "config").read_text() == "old"
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["config"]


def test_the_working_directory_gets_new_files_and_stays_the_working_directory(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name, content in (("config", "old"), ("mine", "kept")):
        (tmp_path / name).write_text(content)
    with updating_directory(".", ("config", "folder")) as part:
        (part / "config").write_text("new")
        (part / "folder").mkdir()
        (part / "folder" / "a").write_text("a")
    assert sorted(os.listdir(".")) == ["config", "folder", "mine"]
    assert (tmp_path / "config").read_text() == "new"
    assert (tmp_path / "mine").read_text() == "kept"


def test_a_folder_of_these_files_alone_is_exchanged_as_one(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    for content in ("old", "new"):
        if content == "new":
            monkeypatch.setattr(updating, "put_in_place", None)  # is not needed
        with updating_directory(folder, ("config", "weights")) as part:
            for name in ("config", "weights"):
                (part / name).write_text(content)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "config": "new", "weights": "new",
    }  # fmt: skip

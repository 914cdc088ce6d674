"""A preset's folder holds the old or the new preset, whole, and keeps all other files."""

import os

import pytest

from keras_regvq.files import preset_folder
from keras_regvq.files.preset_folder import current_folder, replacing_preset
from tests.files.test_replacing import small_disk


def save(directory, text, *names):
    with replacing_preset(directory) as folder:
        for name in ("config.json", *names):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)


def files(directory):
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_other_files_stay_and_what_the_old_preset_had_goes(tmp_path):
    preset = tmp_path / "preset"
    save(preset, "old", "model_00000.weights.h5", "model.weights.json", "text_encoder/config.json")
    (preset / "README.md").write_text("mine")
    (preset / "pictures").mkdir()
    (preset / "pictures" / "a.txt").write_text("mine")
    inode = preset.stat().st_ino
    save(preset, "new", "model.weights.h5")
    assert files(preset) == {
        "config.json": "new", "model.weights.h5": "new", "README.md": "mine",
        "pictures/a.txt": "mine",
    }  # fmt: skip
    assert preset.stat().st_ino == inode and os.listdir(tmp_path) == ["preset"]
    save(preset, "newest", "text_encoder/b.json")
    save(preset, "last", "text_encoder/c.json")
    assert set(files(preset)) == {
        "config.json", "text_encoder/c.json", "README.md", "pictures/a.txt",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["new", "nested", "empty", "link", "dangling link", "here"])
def test_any_folder_can_be_the_target(tmp_path, kind, monkeypatch):
    target = real = tmp_path / "preset"
    if kind == "nested":
        target = real = tmp_path / "a" / "b"
    if kind in ("empty", "link", "here"):
        real.mkdir()
    if "link" in kind:
        target = tmp_path / "link"
        target.symlink_to("preset")
    if kind == "here":
        monkeypatch.chdir(real)
        target = "."
    for text in ("old", "new"):
        save(target, text)
        assert files(real) == {"config.json": text}
    if "link" in kind:
        assert target.is_symlink()
    if kind == "here":
        assert os.listdir() == ["config.json"]  # this process is still in the folder


def test_a_file_in_its_place_is_named(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(ValueError, match="`directory`.*which is a file"):
        save(tmp_path / "a", "new")


def test_a_full_disk_keeps_the_old_preset(tmp_path):
    save(tmp_path / "preset", "old")
    with small_disk(100), pytest.raises(OSError, match="preset"):
        save(tmp_path / "preset", "new" * 1000)
    assert files(tmp_path / "preset") == {"config.json": "old"}


@pytest.mark.parametrize("function", ["replace", "rename", "link"])
def test_after_a_kill_at_any_step_one_of_the_two_is_there_whole(tmp_path, monkeypatch, function):
    """A kill before the n-th call, for each n: what is read then, and after the next save."""
    original = getattr(os, function)
    for last in range(6):
        preset = tmp_path / f"{function}_{last}"
        save(preset, "old", "model.weights.h5", "text_encoder/a")
        calls = iter(range(100))

        def killed(*args, calls=calls, last=last, **kwargs):
            if next(calls) >= last:
                raise KeyboardInterrupt
            return original(*args, **kwargs)

        monkeypatch.setattr(preset_folder.os, function, killed)
        try:
            save(preset, "new", "model.weights.h5", "text_encoder/a")
        except KeyboardInterrupt:
            pass
        monkeypatch.setattr(preset_folder.os, function, original)
        found = files(current_folder(preset))
        found = {name: text for name, text in found.items() if not name.startswith(".")}
        assert set(found) == {"config.json", "model.weights.h5", "text_encoder/a"}
        assert set(found.values()) in ({"old"}, {"new"})
        save(preset, "newest", "model.weights.h5")
        assert files(preset) == {"config.json": "newest", "model.weights.h5": "newest"}


def test_where_a_file_can_have_one_name_only_it_is_copied(tmp_path, monkeypatch):
    def no_links(source, target, **kwargs):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(preset_folder.os, "link", no_links)
    save(tmp_path / "preset", "old")
    save(tmp_path / "preset", "new")
    assert files(tmp_path / "preset") == {"config.json": "new"}

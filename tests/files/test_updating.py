"""Files of a folder that belong together are replaced together."""

import pytest

from keras_regvq.files.updating import updating_directory


def test_two_files_are_replaced_and_the_others_stay(tmp_path):
    folder = tmp_path / "model"
    (folder / "inside").mkdir(parents=True)
    for name in ("config", "weights", "notes", "inside/more"):
        (folder / name).write_text("old")
    with updating_directory(folder) as part:
        for name in ("config", "weights"):
            (part / name).unlink()
            (part / name).write_text("new")
        assert (folder / "config").read_text() == "old"
    found = {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}
    assert found == {"config": "new", "weights": "new", "notes": "old", "inside/more": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_after_a_failure_all_is_as_it_was(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config").write_text("old")
    with pytest.raises(RuntimeError), updating_directory(tmp_path / "model") as part:
        (part / "config").unlink()
        (part / "weights").write_text("new")
        raise RuntimeError
    assert (tmp_path / "model" / "config").read_text() == "old"
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["config"]

"""A guide's page and pictures are replaced when all of it has run."""

import pytest

GUIDE = """# %% [markdown]
# # A guide
# %%
import os
open(f"{os.environ['GUIDE_PICTURES']}/guide_1_new.png", "w").write("new")
# %%
print(1 / DIVISOR)
"""


@pytest.fixture
def guide(tmp_path, monkeypatch):
    monkeypatch.setenv("GUIDE_PICTURES", "")  # is set by the run, and put back
    (tmp_path / "pictures").mkdir()
    for name in ("guide_1_new.png", "guide_2_stale.png", "other_1_new.png"):
        (tmp_path / "pictures" / name).write_text("old")
    (tmp_path / "guide.md").write_text("old")

    def write(divisor):
        (tmp_path / "guide.py").write_text(GUIDE.replace("DIVISOR", str(divisor)))
        return tmp_path / "guide.py"

    return write


def contents(folder):
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_guide_that_fails_leaves_page_and_pictures_as_they_were(build, guide, tmp_path):
    script = guide(0)
    before = contents(tmp_path)
    with pytest.raises(ZeroDivisionError):
        build.build(script)
    assert contents(tmp_path) == before


def test_a_guide_replaces_its_page_and_pictures_and_removes_stale_ones(build, guide, tmp_path):
    build.build(guide(4))
    after = contents(tmp_path)
    assert "0.25" in after["guide.md"] and "![new](pictures/guide_1_new.png)" in after["guide.md"]
    assert after["guide_1_new.png"] == "new" and after["other_1_new.png"] == "old"
    assert "guide_2_stale.png" not in after and len(after) == 4

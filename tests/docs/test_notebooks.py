"""The guides' notebooks are those of their scripts, and run from top to bottom in Jupyter."""

import os
from pathlib import Path

import keras
import nbclient
import nbformat
import pytest

GUIDES = Path(__file__).parent.parent.parent / "guides"

# With three sampling steps, for time: the notebook has as many as it says.
SMALL = """from keras_regvq import models
original = models.TextToImage.generate
def in_three_steps(self, *args, **options):
    return original(self, *args, **{**options, "num_steps": 3})
models.TextToImage.generate = in_three_steps"""


@pytest.fixture(scope="module")
def notebooks():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(GUIDES))
        import notebooks

        yield notebooks


def test_the_files_are_up_to_date(notebooks):
    for name in notebooks.NAMES:
        written = (GUIDES / "notebooks" / f"{name}.ipynb").read_text()
        assert written == notebooks.text_of(name), "python guides/notebooks.py"


def test_a_notebook_runs_and_shows_its_pictures(notebooks, request, tmp_path, monkeypatch):
    """Each third day another: their cells are the guides', which tests/guides runs."""
    every = request.config.getoption("--all")
    day, rest = divmod(int(os.environ.get("TEST_DAY", "0")), 3)
    if rest and not every:
        pytest.skip("not today")
    day %= len(notebooks.NAMES)
    for name in notebooks.NAMES if every else notebooks.NAMES[day : day + 1]:
        check(name, tmp_path, monkeypatch)


def check(name, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    book = nbformat.read(GUIDES / "notebooks" / f"{name}.ipynb", as_version=4)
    book.cells.insert(2, nbformat.v4.new_code_cell(SMALL))
    folder = {"metadata": {"path": str(GUIDES)}}
    nbclient.NotebookClient(book, timeout=300, resources=folder).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    shown = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(shown) == len(list((GUIDES / "pictures").glob(f"{name}_*.png"))) > 0
    errors = [output.text for output in outputs if output.get("name") == "stderr"]
    assert [text for text in errors if "IProgress not found" not in text] == []  # tqdm's

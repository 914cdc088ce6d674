import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def recipes_on_path(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent.parent / "recipes"))
    monkeypatch.chdir(tmp_path)
    yield
    for name in ("quickstart", "train_tokenizer", "evaluation"):
        sys.modules.pop(name, None)

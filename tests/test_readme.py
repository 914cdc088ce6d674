import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def code_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)


def test_the_readmes_code_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = code_blocks("README.md")
    assert len(blocks) >= 3
    namespace = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)
    assert namespace["tokens"].shape == (4, 16, 16)
    assert namespace["decoded"].shape == (4, 64, 64, 3)
    assert (tmp_path / "my_tokenizer" / "model.weights.h5").is_file()


def test_every_file_that_the_readme_names_exists():
    text = (ROOT / "README.md").read_text()
    names = re.findall(r"\]\(([^)#:]+)\)", text) + re.findall(r"(?:recipes|guides)/\w+\.\w+", text)
    assert names
    for name in names:
        assert (ROOT / name).exists(), name

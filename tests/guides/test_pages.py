"""The guides' pages are up to date with their scripts and pictures."""

import re
from pathlib import Path

import pytest

GUIDES = Path(__file__).parent.parent.parent / "guides"
PICTURES = GUIDES / "pictures"
NAMES = (
    "choosing_a_quantizer",
    "regvq_part_by_part",
    "from_maps_to_pictures",
    "from_words_to_pictures",
    "published_tokenizers",
)


def linked_pictures(name):
    return re.findall(r"!\[[^\]]+\]\(pictures/([^)]+)\)", (GUIDES / f"{name}.md").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_its_scripts_text_and_code_in_order(build, name):
    script = GUIDES / f"{name}.py"
    page, position = script.with_suffix(".md").read_text(), 0
    for kind, text in build.cells(script):
        block = text if kind == "markdown" else f"```python\n{text}\n```"
        found = page.find(f"\n\n{block}\n", position)
        assert found >= 0, f"python guides/build.py guides/{script.name}; missing:\n{block}"
        position = found + len(block)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_its_own_pictures_in_order(name):
    numbers = [int(re.search(r"_(\d+)_", picture)[1]) for picture in linked_pictures(name)]
    assert numbers == list(range(1, len(numbers) + 1)) and numbers
    assert all(picture.startswith(name) for picture in linked_pictures(name))


def test_the_pictures_are_those_of_the_pages_and_small():
    names = [picture for name in NAMES for picture in linked_pictures(name)]
    assert sorted(path.name for path in PICTURES.iterdir()) == sorted(names)
    sizes = [(PICTURES / name).stat().st_size for name in names]
    assert max(sizes) < 300_000 and sum(sizes) < 2_500_000

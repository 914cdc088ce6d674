"""The README and the pages beside it: their code runs, their links and commands exist."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_regvq.__main__ import parse_arguments

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    str(page.relative_to(ROOT))
    for pattern in ("*.md", "guides/*.md", "results/**/*.md", "benchmarks/**/*.md")
    for page in ROOT.glob(pattern)
)
# The other guides with code are made from scripts, which tests/guides runs.
PAGES_WITH_CODE = (
    *("README.md", "guides/presets.md"),
    *("guides/your_own_images.md", "guides/many_machines.md"),
    *("guides/coming_from.md", "guides/when_it_goes_wrong.md"),
)


def read(page):
    return (ROOT / page).read_text()


def code_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", read(page), re.M | re.S)


def run_code(page):
    """The names that a page's code leaves behind."""
    namespace = {}
    for block in code_blocks(page):
        exec(compile(block, page, "exec"), namespace)
    return namespace


def commands(page, start):
    """The words of each command on a page that starts so, without a shell's comment."""
    found = re.findall(rf"{re.escape(start)}[^`\n|]*", read(page))
    return [shlex.split(command, comments=True) for command in found]


def anchors(page):
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.M)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.fixture
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_is_one_page():
    assert len(read("README.md").splitlines()) <= 120


def test_the_readmes_code_runs_from_top_to_bottom(in_a_folder_of_its_own):
    names = run_code("README.md")
    assert names["tokens"].shape == (4, 16, 16) and names["tokens"].max() < 512
    assert names["decoded"].shape == (4, 64, 64, 3)
    assert set(names["result"]) >= {"embeddings", "tokens", "best_tokens", "mask", "perturbation"}
    assert names["from_maps"].shape == (4, 64, 64, 3)
    assert names["from_words"].shape == (2, 64, 64, 3)
    assert (in_a_folder_of_its_own / "my_tokenizer" / "model.weights.h5").is_file()


def test_the_readmes_tokenizer_is_a_trained_one(in_a_folder_of_its_own):
    """Random weights decode to noise, some 10 dB away from the images."""
    block = next(block for block in code_blocks("README.md") if "from_preset" in block)
    names = {}
    exec(block, names)
    error = ((names["images"] / 255.0 - names["decoded"]) ** 2).mean()
    assert error < 10**-2.3


def test_the_code_on_presets_runs(in_a_folder_of_its_own):
    names = run_code("guides/presets.md")
    assert names["top"].shape == (4, 32, 64, 3)
    images = names["images"]
    assert (names["again"].encode(images) == names["tokenizer"].encode(images)).all()


def test_the_code_on_ones_own_images_runs(in_a_folder_of_its_own):
    names = run_code("guides/your_own_images.md")
    assert tuple(names["images"].shape) == (8, 64, 64, 3)
    assert len((in_a_folder_of_its_own / "log.csv").read_text().splitlines()) == 3
    test = next(iter(names["test"]))["images"].numpy()
    assert 0 < len(test) < 8  # so that this is all of the split
    error = (test / 255.0 - names["tokenizer"].reconstruct(test)) ** 2
    psnr = -10 * np.log10(error.mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(float(names["psnr"].result()), psnr.mean(), rtol=1e-4)


def test_the_code_on_many_machines_runs(in_a_folder_of_its_own):
    names = run_code("guides/many_machines.md")
    assert names["replicas"] == 1 and int(names["trainer"].optimizer.iterations) == 2


@pytest.mark.parametrize("page", ["guides/coming_from.md", "guides/when_it_goes_wrong.md"])
def test_the_code_of_other_pages_runs(page, in_a_folder_of_its_own):
    assert run_code(page)


def test_every_page_with_code_is_run():
    made = {str(page.relative_to(ROOT).with_suffix(".md")) for page in ROOT.glob("guides/*.py")}
    with_code = {page for page in PAGES if code_blocks(page)}
    assert with_code - made == set(PAGES_WITH_CODE)


def test_every_link_of_the_pages_leads_somewhere():
    followed = 0
    for page in PAGES:
        for target in re.findall(r"\]\(([^)]+)\)", read(page)):
            if not target.startswith("http"):
                name, _, anchor = target.partition("#")
                path = (ROOT / page).parent / name if name else ROOT / page
                assert path.is_file(), (page, target)  # the site has no page for a folder
                assert not anchor or anchor in anchors(path), (page, target)
                followed += 1
    assert followed > 50


def test_every_guide_and_page_is_linked_from_the_readme():
    linked = set(re.findall(r"\]\(([^)#:]+\.md)\)", read("README.md")))
    assert {page for page in PAGES if page.startswith("guides/")} <= linked
    assert {"CONTRIBUTING.md", "results/README.md", "benchmarks/README.md"} <= linked


def test_every_file_and_benchmark_that_a_page_names_exists():
    for page in PAGES:
        for name in re.findall(r"(?<![\w/])((?:recipes|guides|tests)/[\w/]+\.\w+)", read(page)):
            assert (ROOT / name).exists(), (page, name)
    named = re.findall(r"python -m (benchmarks[\w.]+)", read("benchmarks/README.md"))
    assert len(named) > 8
    for module in named:
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_every_command_of_the_pages_has_options_that_exist(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    monkeypatch.chdir(ROOT)
    before, parsed = set(sys.modules), 0
    try:
        for page in PAGES:
            for _, recipe, *arguments in commands(page, "python recipes/"):
                parse = runpy.run_path(str(ROOT / recipe)).get("parse_arguments")
                if parse is not None and "--help" not in arguments:
                    parse(arguments)
                    parsed += 1
            for _, _, _, *arguments in commands(page, "python -m keras_regvq "):
                parse_arguments(arguments)
                parsed += 1
    finally:
        for name in set(sys.modules) - before:
            if (ROOT / "recipes" / f"{name}.py").is_file():
                del sys.modules[name]
    assert parsed > 20

"""The documentation site is built without a warning, and stands on its own."""

import html.parser
import re
import subprocess
import sys
import types
from pathlib import Path
from urllib.parse import unquote

import pytest

import keras_regvq

pytestmark = pytest.mark.seldom

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Its folder. MkDocs is strict: a link that leads nowhere ends the command with an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, ROOT / "docs" / "build.py", "--output", folder]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


class Page(html.parser.HTMLParser):
    """The anchors of a page, where it links to, and what it loads."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.loaded = set(), set(), set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        if tag == "a" and "href" in attributes:
            self.links.add(attributes["href"])
        if tag in ("script", "img", "iframe") and "src" in attributes:
            self.loaded.add(attributes["src"])
        if tag == "link" and attributes.get("rel") != "canonical":
            self.loaded.add(attributes["href"])


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_link_leads_to_a_page_and_a_heading(pages):
    followed = 0
    for path, page in pages.items():
        for link in page.links | page.loaded:
            if "://" in link:
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / unquote(name)).resolve() if name else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), (path, link)
            assert not anchor or unquote(anchor) in pages[target].anchors, (path, link)
            followed += 1
    assert followed > 5000


def test_no_page_loads_anything_from_another_host(pages):
    assert [url for page in pages.values() for url in page.loaded if "//" in url] == []


def test_every_public_name_has_a_page_with_an_example(site):
    names = 0
    for part in set(keras_regvq.__all__) - {"__version__", "from_preset"}:
        module = getattr(keras_regvq, part)
        for name in module.__all__:
            member = getattr(module, name)
            if not isinstance(member, types.ModuleType):
                page = (site / "api" / part / f"{name}.html").read_text()
                assert 'class="example"' in page or not callable(member), (part, name)
                names += 1
    assert names > 70
    assert (site / "api" / "training" / "EpochPicture.html").is_file()  # training.callbacks alone


def test_formulas_are_drawn_by_the_browser_itself(site):
    page = (site / "guides" / "regvq_part_by_part.html").read_text()
    assert page.count("<math") > 8 and "arithmatex" not in page and "\\arg" not in page


def test_commands_are_described_in_full(site):
    page = (site / "recipes" / "train_tokenizer.html").read_text()
    assert "--codebook-size" in page and "--precision" in page
    own = (site / "recipes" / "keras_regvq.html").read_text()
    commands = re.search(r"\{([a-z,]+)\}", own)[1].split(",")
    assert len(commands) > 3 and all(f"python -m keras_regvq {name}" in own for name in commands)

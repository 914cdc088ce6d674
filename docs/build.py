"""Build the documentation site: python docs/build.py [--output DIRECTORY]

Collects the pages of the repository (README, guides, results, benchmarks) as they lie, adds a page
for every public name and for every recipe's --help, and has MkDocs build them, strictly: a link
that leads nowhere, or a page that is in no menu, is an error. Needs the extra `docs`, and no
network. The result is a folder of files, to serve anywhere or to open as they are.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from generated_pages import write, write_api_pages, write_help_pages

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the package, in a clone

PAGES = ("*.md", "guides/*.md", "results/**/*.md", "benchmarks/*.md")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def build(output):
    """Write the site to `output`, which is replaced when all of it has been built."""
    from keras_regvq.files.replacing import replacing_directory

    with tempfile.TemporaryDirectory() as part, replacing_directory(Path(output)) as site:
        pages = Path(part) / "pages"
        copy_pages(pages)
        shutil.copy(ROOT / "docs" / "wide.css", pages)
        write_api_pages(pages / "api")
        write_help_pages(pages / "recipes")
        config = {
            "INHERIT": str(ROOT / "docs" / "mkdocs.yml"),
            "docs_dir": str(pages),
            "site_dir": str(Path(site).resolve()),
            "nav": menu(pages),
            "plugins": {"mkdocstrings": {"handlers": {"python": {"paths": [str(ROOT)]}}}},
        }
        (Path(part) / "mkdocs.yml").write_text(yaml.safe_dump(config))
        mkdocs = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f"]
        here = str(Path(sys.executable).parent)  # where ruff is, which sets out signatures
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "docs"),  # where markdown_additions is
            "PATH": os.pathsep.join([here, os.environ.get("PATH", "")]),
            "NO_MKDOCS_2_WARNING": "1",
        }
        subprocess.run([*mkdocs, f"{part}/mkdocs.yml"], env=environment, check=True)


def copy_pages(folder):
    """Copy the repository's pages, and the files that they link to, to the same places."""
    for pattern in PAGES:
        for page in ROOT.glob(pattern):
            text = re.sub(r"\A<!--.*?-->\s*", "", page.read_text())  # a title has to come first
            write(folder / page.relative_to(ROOT), text)
            for target in LINK.findall(text):
                linked = (page.parent / target).resolve()
                if linked.is_file() and linked.suffix != ".md":
                    copied = folder / linked.relative_to(ROOT)
                    copied.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(linked, copied)


def menu(pages):
    """The menu, as MkDocs takes it: the order of the README, then the alphabet's."""
    guides = dict.fromkeys(re.findall(r"\((guides/\w+\.md)\)", (pages / "README.md").read_text()))
    guides |= dict.fromkeys(listed(pages, "guides/*.md"))
    return [
        {"Home": "README.md"},
        {"Guides": list(guides)},
        {"Recipes": ["recipes/README.md", *listed(pages, "recipes/*.md", "recipes/README.md")]},
        {"API": api_menu(pages)},
        {"Results": ["results/README.md", *tables(pages, "results/**/*.md")]},
        {"Benchmarks": listed(pages, "benchmarks/*.md")},
        {"Project": listed(pages, "*.md", "README.md")},
    ]


def api_menu(pages):
    parts = sorted(path.name for path in (pages / "api").iterdir() if path.is_dir())
    return ["api/README.md"] + [{name: listed(pages, f"api/{name}/*.md")} for name in parts]


def tables(pages, pattern):
    """Pages below the first, of which those that are but a table are named by where they lie."""
    for name in listed(pages, pattern, "results/README.md"):
        titled = (pages / name).read_text().startswith("# ")
        yield name if titled else {str(Path(name).with_suffix("").relative_to("results")): name}


def listed(pages, pattern, *without):
    found = sorted(str(path.relative_to(pages)) for path in pages.glob(pattern))
    return [name for name in found if name not in without]


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", default=str(ROOT / "site"), help="where to write [site]")
    args = parser.parse_args(arguments)
    build(args.output)
    print(f"The site is in {args.output}: python -m http.server --directory {args.output}")


if __name__ == "__main__":
    main()

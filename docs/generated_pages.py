"""Pages that are made: one of every public name, and one of every command's --help."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The parts of the package, in the order in which their pages are listed.
PARTS = ("presets", "models", "quantizers", "losses", "metrics", "data", "training", "tokenizing")
COMMANDS = ("convert", "demo", "tokenize", "upload")
MAIN = '\nif __name__ == "__main__":\n'

PREAMBLE = """
The examples on these pages start with

```python
import keras
import numpy as np

import keras_regvq

images = keras_regvq.data.scenes(4, size=64)["images"]  # uint8 (4, 64, 64, 3)
```

and run under each backend: the tests run them all.
"""


def write_api_pages(folder):
    """Write README.md, and PART/NAME.md of every public name."""
    import griffe

    package = griffe.load("keras_regvq", search_paths=[ROOT])  # which imports nothing of it
    index = ["# API", PREAMBLE, "`keras_regvq.from_preset` is `keras_regvq.presets.from_preset`."]
    for part in PARTS:
        module = package[part]
        index += [f"## keras_regvq.{part}", first_line(module), "| name | |\n|---|---|"]
        for name, member in public_members(module):
            write(folder / part / f"{name}.md", f"::: {member.path}\n")
            index[-1] += f"\n| [`{name}`]({part}/{name}.md) | {first_line(member)} |"
    write(folder / "README.md", "\n\n".join(index) + "\n")


def public_members(module):
    """(name, member) of what a module gives to users, and of what its submodules alone give."""
    for name in module.exports:
        member = module[name]
        if member.is_module and name in member.members:  # a function in a file of its name
            member = member[name]
        if member.is_module:
            yield from ((n, m) for n, m in public_members(member) if n not in module.exports)
        else:
            yield name, member


def first_line(member):
    return member.docstring.value.splitlines()[0].replace("|", "\\|")


def write_help_pages(folder):
    """Write a page with the --help of every recipe, and of the package's own commands."""
    own = [["-m", "keras_regvq", *name] for name in ([], *([c] for c in COMMANDS))]
    write(folder / "keras_regvq.md", help_page("The package's own commands", own))
    for script in sorted((ROOT / "recipes").glob("*.py")):
        if MAIN in script.read_text():
            write(
                folder / f"{script.stem}.md", help_page(script.name, [[f"recipes/{script.name}"]])
            )
    rows = [f"* [{page.stem}]({page.name})" for page in sorted(folder.glob("*.md"))]
    text = "What each command takes. [The recipes](../guides/recipes.md) says which to use when."
    write(folder / "README.md", "\n".join(["# Commands\n", text, "", *rows, ""]))


def help_page(title, commands):
    blocks = [f"# {title}"]
    for command in commands:
        words = [sys.executable, *command, "--help"]
        wide = {**os.environ, "COLUMNS": "100"}
        shown = subprocess.check_output(words, cwd=ROOT, env=wide, text=True).rstrip()
        blocks.append(f"## `python {' '.join(command)}`\n\n```text\n{shown}\n```")
    return "\n\n".join(blocks) + "\n"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

"""The examples of the public names' docstrings: each name has one, it runs, and says what is so.

An example stands between fences, "```python", after `PREAMBLE`. What takes a file, a folder, a
network or devices that not everybody has is fenced as "```python norun", and is only compiled. A
comment that is nothing but a Python value, or a dtype and a shape, is compared with what its line
gives.
"""

import ast
import contextlib
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import pytest

pytestmark = [pytest.mark.one_backend, pytest.mark.eager]

PREAMBLE = """
import keras
import numpy as np

import keras_regvq

images = keras_regvq.data.scenes(4, size=64)["images"]  # uint8 (4, 64, 64, 3)
"""
PARTS = (
    *("keras_regvq", "keras_regvq.data", "keras_regvq.losses", "keras_regvq.metrics"),
    *("keras_regvq.models", "keras_regvq.presets", "keras_regvq.quantizers"),
    *("keras_regvq.tokenizing", "keras_regvq.training", "keras_regvq.training.callbacks"),
)
MOST_NORUN = 9
FENCED = re.compile(r"^( *)```python( norun)?\n(.*?)^\1```$", re.M | re.S)
SHAPE = re.compile(r"(?:([a-z]+\d+) )?(\(\d[\d, ]*\))")


def public_names():
    """{name: class or function}, by the first public path of each; and the constants' paths."""
    found, constants = {}, []
    for part in PARTS:
        module = importlib.import_module(part)
        for name in module.__all__:
            member = getattr(module, name)
            if inspect.isclass(member) or inspect.isfunction(member):
                if all(member is not other for other in found.values()):
                    found[f"{part}.{name}"] = member
            elif not inspect.ismodule(member):
                constants.append((part, name))
    return found, constants


NAMES, CONSTANTS = public_names()


def blocks_of(docstring):
    """(whether it is to be run, code) of each fenced block."""
    found = FENCED.findall(inspect.cleandoc(docstring or ""))
    return [(not norun, textwrap.dedent(code)) for _, norun, code in found]


def methods_of(member):
    """Docstrings of a class's own methods; the example may be one of how they are used."""
    members = vars(member).values() if inspect.isclass(member) else ()
    functions = [getattr(value, "__func__", value) for value in members]
    return [value.__doc__ for value in functions if inspect.isfunction(value)]


def claim(line):
    """What a line's comment says of its value: ("shape", dtype, shape), ("value", it), or None."""
    comment = line.partition("  # ")[2].strip()
    match = SHAPE.fullmatch(comment)
    if match:
        return "shape", match[1], ast.literal_eval(match[2])
    with contextlib.suppress(ValueError, SyntaxError):
        return "value", ast.literal_eval(comment)
    return None


def check_claim(said, value, line):
    if said[0] == "shape":
        shape = value.shape if hasattr(value, "dtype") else value
        assert tuple(shape) == said[2], line
        assert said[1] in (None, str(getattr(value, "dtype", None))), line
    elif isinstance(said[1], float):
        decimals = len(line.rpartition(".")[2])
        assert abs(float(value) - said[1]) <= 0.5001 * 10**-decimals, (line, float(value))
    else:
        assert value == said[1], (line, value)


def run(code, name):
    """Run an example statement by statement, and check what its comments say; how many did."""
    namespace, checked = {"__name__": "example"}, 0
    exec(compile(PREAMBLE, name, "exec"), namespace)
    lines = code.splitlines()
    for node in ast.parse(code).body:
        line, value = lines[node.end_lineno - 1], None
        if isinstance(node, ast.Expr):
            value = eval(compile(ast.Expression(node.value), name, "eval"), namespace)
        else:
            exec(compile(ast.Module([node], []), name, "exec"), namespace)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                value = namespace[node.targets[0].id]
        said = claim(line)
        if said and value is not None:
            check_claim(said, value, line)
            checked += 1
    return checked


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_an_example_that_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = blocks_of(NAMES[name].__doc__)
    assert blocks, f"{name} has no example"
    for runs, code in blocks:
        compile(code, name, "exec")
        if runs:
            run(code, name)


def test_the_api_pages_say_what_the_examples_start_with():
    pages = Path(__file__).parent.parent / "docs" / "generated_pages.py"
    assert f"```python{PREAMBLE}```" in pages.read_text()


def test_few_examples_are_not_run():
    docstrings = [doc for m in NAMES.values() for doc in (m.__doc__, *methods_of(m))]
    found = [code for doc in docstrings for runs, code in blocks_of(doc) if not runs]
    assert 0 < len(found) <= MOST_NORUN


def test_no_example_stands_without_a_fence():
    for name, member in NAMES.items():
        for doc in (member.__doc__, *methods_of(member)):
            sections = len(re.findall(r"^ *Examples?:", doc or "", re.M))
            assert sections <= 1 and bool(sections) == bool(blocks_of(doc)), name


def text_below(module, name):
    """The string that follows a constant's assignment, in the module that it is imported from."""
    body = ast.parse(inspect.getsource(importlib.import_module(module))).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return text_below(node.module, name)
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
            return isinstance(after, ast.Expr) and ast.literal_eval(after.value)
    return None


@pytest.mark.parametrize(("part", "name"), CONSTANTS)
def test_a_public_constant_is_described_below_its_assignment(part, name):
    """Where documentation tools look for it."""
    assert text_below(part, name), f"{part}.{name}"


def test_a_wrong_comment_and_a_broken_example_are_found():
    assert run("images.shape  # (4, 64, 64, 3)\nhalf = 0.504  # 0.50\n", "example") == 2
    for code in ("images.shape  # (4, 64, 64)\n", "half = 0.506  # 0.50\n", "'a'  # 'b'\n"):
        with pytest.raises(AssertionError):
            run(code, "example")
    with pytest.raises(AssertionError):
        run("zeros = np.zeros((2, 3))  # float32 (2, 3)\n", "example")
    with pytest.raises(NameError):
        run("no_such\n", "example")
    docstring = "One.\n\nExample:\n    ```python norun\n    a = [\n        1]\n    ```\n"
    assert blocks_of(docstring) == [(False, "a = [\n    1]\n")]

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_regvq

PACKAGE = Path(keras_regvq.__file__).parent

BLOCKED = "import sys; sys.modules.update(keras_hub=None, tensorflow=None)\n"


def run(code, backend):
    environment = {**os.environ, "KERAS_BACKEND": backend}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, keras_regvq; print({'keras', 'numpy', 'tensorflow'} & set(sys.modules))"
    assert run(code, "jax").stdout.strip() == "set()"


def test_the_commands_import_nothing_heavy_before_they_know_what_to_do():
    code = "import sys, keras_regvq.__main__; print({'keras', 'tensorflow'} & set(sys.modules))"
    assert run(code, "jax").stdout.strip() == "set()"


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_quantizers_losses_metrics_and_scenes_work_without_keras_hub_and_tensorflow(backend):
    code = BLOCKED + (
        "from keras_regvq import quantizers, losses, metrics, data\n"
        "print(data.scenes(1)['images'].shape)"
    )
    result = run(code, backend)
    assert result.stdout.strip() == "(1, 64, 64, 3)", result.stderr[-2000:]


@pytest.mark.seldom
def test_all_that_commands_and_guides_reach_by_the_packages_name_is_there():
    """In a process of its own: here some other test may have imported a module already."""
    root, reached = PACKAGE.parent, set()
    line = re.compile(r"^(?!\s*(?:from|import) ).*?(?<![\w.])keras_regvq\.([a-z_]+)\.\w", re.M)
    for folder in ("recipes", "guides", "benchmarks"):
        for path in (root / folder).rglob("*.py"):
            reached |= set(line.findall(path.read_text()))
    code = f"import keras_regvq\nfor name in {sorted(reached)}: getattr(keras_regvq, name)"
    result = run(code, "jax")
    assert len(reached) > 5 and result.returncode == 0, result.stderr


def test_an_unknown_attribute_is_named():
    with pytest.raises(AttributeError, match="no_such"):
        keras_regvq.no_such  # noqa: B018


def test_only_its_own_folder_names_a_backend():
    pattern = re.compile(r"^\s*(import|from) (torch|jax|tensorflow)\b|backend\.backend\(\)", re.M)
    naming = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if pattern.search(path.read_text())
    ]
    others = [name for name in naming if not name.startswith(("backend/", "data/"))]
    assert naming and others == []


# From top to bottom; those of one line know nothing of each other. `__init__` is the package's own.
ORDER = (
    ("__main__",),
    ("__init__",),
    ("demo", "tokenizing", "upload_command"),
    ("presets", "training"),
    ("models",),
    ("data", "metrics", "pictures", "quantizers"),
    ("losses",),
    ("torch_files",),
    ("files",),
    ("checks",),
    ("backend", "version"),
)
LEVELS = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imported(module, source):
    """The modules and names of this package that a module's source imports or reaches anywhere.

    Args:
        module: its name, which relative imports start from.
        source: Python.
    """
    found, left = set(), [ast.parse(source)]
    package = module if MODULES.get(module, PACKAGE).name == "__init__.py" else parent(module)
    while left:
        node = left.pop()
        left += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = ".".join([*(start if node.level else []), *filter(None, [node.module])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(f"{node.value.id}.{node.attr}")
    return {name for name in found if name.split(".")[0] == "keras_regvq"}


def parent(name):
    return name.rpartition(".")[0]


def room(name):
    return (name.split(".") + ["__init__"])[1]


def wrong_ways(module, source):
    """What a module imports of rooms that are above its own, or beside it."""
    own = room(module)
    return [
        name
        for name in sorted(imported(module, source))
        if room(name) in LEVELS and room(name) != own and LEVELS[room(name)] <= LEVELS[own]
    ]


@pytest.mark.parametrize(
    "line",
    [
        "import keras_regvq",
        "import keras_regvq.training.batches as batches",
        "import numpy, keras_regvq.training",
        "from keras_regvq import training",
        "from keras_regvq import (\n    losses,\n    training as loops,\n)",
        "from keras_regvq.training import TokenizerTrainer",
        "from ..training import TokenizerTrainer",
        "from .. import losses, \\\n    training",
        "def late():\n    from keras_regvq import training",
        "import keras_regvq.losses\nkeras_regvq.training.TokenizerTrainer",
    ],
)
def test_an_import_of_what_is_above_is_seen_in_every_form(line):
    assert wrong_ways("keras_regvq.models.made_up", line)


@pytest.mark.parametrize(
    "line",
    [
        "import keras, numpy",
        "from keras_regvq import losses, quantizers",
        "from keras_regvq.models.layers.blocks import Upsample",
        "from .layers import blocks",
        "from keras_regvq.data.pipeline import training",
    ],
)
def test_an_import_of_what_is_below_is_none(line):
    assert not wrong_ways("keras_regvq.models.made_up", line)


def test_every_file_and_folder_of_the_package_has_its_place_in_the_order():
    assert {room(name) for name in MODULES} == set(LEVELS)


def test_dependencies_point_one_way():
    wrong = {name: wrong_ways(name, path.read_text()) for name, path in MODULES.items()}
    assert {name: names for name, names in wrong.items() if names} == {}


def cycle(graph):
    """A list of nodes that lead from one to itself, or None; `graph` is {node: its successors}."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return None
        path.append(node)
        found = next(filter(None, map(visit, sorted(graph[node]))), None)
        path.pop()
        done.add(node)
        return found

    return next(filter(None, map(visit, sorted(graph))), None)


def test_a_cycle_is_found():
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_no_module_imports_one_that_imports_it():
    graph = {}
    for module, path in MODULES.items():
        names = imported(module, path.read_text())
        graph[module] = {name if name in MODULES else parent(name) for name in names} & set(MODULES)
    assert cycle(graph) is None


def test_no_file_has_more_than_250_lines():
    lines = {
        str(path.relative_to(PACKAGE)): len(path.read_text().splitlines())
        for path in MODULES.values()
    }
    assert {name: n for name, n in lines.items() if n > 250} == {}

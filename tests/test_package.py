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


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_quantizers_losses_metrics_and_scenes_work_without_keras_hub_and_tensorflow(backend):
    code = BLOCKED + (
        "from keras_regvq import quantizers, losses, metrics, data\n"
        "print(data.scenes(1)['images'].shape)"
    )
    result = run(code, backend)
    assert result.stdout.strip() == "(1, 64, 64, 3)", result.stderr[-2000:]


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


def test_dependencies_point_one_way():
    everything = "quantizers|losses|metrics|data|models|training|presets"
    forbidden = {
        "backend": f"checks|files|{everything}",
        "checks": everything,
        "files": everything,
        "quantizers": "models|training|data|metrics|presets",
        "losses": "quantizers|models|training|data|metrics|presets",
        "models": "training|presets",  # text datasets become arrays in `data`
        "metrics": "models|training|data|presets",
        "data": "models|training|quantizers|losses|metrics|presets",
    }
    for folder, names in forbidden.items():
        pattern = re.compile(
            rf"(from|import) keras_regvq\.({names})\b|from keras_regvq import .*\b({names})\b"
        )
        for path in (PACKAGE / folder).rglob("*.py"):
            assert not pattern.search(path.read_text()), path

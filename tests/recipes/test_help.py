"""Every recipe answers --help at once: it imports neither keras nor TensorFlow for it."""

import os
import subprocess
import sys

import pytest

from tests.recipes.conftest import RECIPES

MAIN = '\nif __name__ == "__main__":\n'
COMMANDS = [path for path in sorted(RECIPES.glob("*.py")) if MAIN in path.read_text()]


@pytest.mark.parametrize("recipe", COMMANDS, ids=lambda path: path.stem)
def test_help_is_printed_before_anything_heavy_is_imported(recipe):
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{str(recipe)!r}, '--help']\n"
        f"sys.path.insert(0, {str(recipe.parent)!r})\n"
        f"try: runpy.run_path({str(recipe)!r}, run_name='__main__')\n"
        "finally: assert not {'keras', 'tensorflow', 'torch', 'jax'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert "usage: " in shown.stdout and not shown.stderr

"""The wheel and the sdist hold all that the package needs, and run where it is not a clone."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

TRY = """
import keras_regvq
from pathlib import Path
assert "site-packages" in keras_regvq.__file__, keras_regvq.__file__
images = keras_regvq.data.scenes(2, size=64)["images"]
tokenizer = keras_regvq.from_preset("regvq_scenes_64")
print(keras_regvq.__version__, tokenizer.encode(images).shape)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the sdist, and the wheel that was built from it."""
    source = tmp_path_factory.mktemp("source")
    for name in ("keras_regvq", "pyproject.toml", "setup.py", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", source / "dist", source]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    return source / "dist"


def test_what_is_no_code_comes_along(built):
    (wheel,) = built.glob("*.whl")
    packed = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    package = ROOT / "keras_regvq"
    wanted = {path.relative_to(ROOT) for path in package.rglob("*") if path.is_file()}
    wanted = {path for path in wanted if "__pycache__" not in path.parts}
    assert {path for path in packed if path.parts[0] == "keras_regvq"} == wanted
    (sdist,) = built.glob("*.tar.gz")
    assert sdist.stat().st_size < 30e6 and wheel.stat().st_size < 30e6


@pytest.mark.seldom
def test_the_wheel_runs_in_an_environment_without_the_repository(built, tmp_path):
    venv.create(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", python, "install"]
    subprocess.run([*pip, "--no-deps", "--no-index", wheel], check=True, capture_output=True)
    # Its dependencies are those of this environment, which lends no editable package by this.
    purelib = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    (Path(purelib) / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    tried = subprocess.run(
        [python, "-c", TRY], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert tried.returncode == 0, tried.stderr
    assert tried.stdout.split(" ", 1)[1].strip() == "(2, 16, 16)"
    shown = subprocess.run(
        [python, "-m", "keras_regvq", "--help"], cwd=tmp_path, env=environment, text=True,
        capture_output=True,
    )  # fmt: skip
    assert shown.returncode == 0 and "demo" in shown.stdout

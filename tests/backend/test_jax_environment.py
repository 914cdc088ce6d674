"""The flags with which JAX starts, in processes of their own."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from keras_regvq.backend.jax_environment import keep_what_jax_compiles

pytestmark = pytest.mark.one_backend

ROOT = Path(__file__).parent.parent.parent
FLAG = "--xla_cpu_experimental_ynn_fusion_type="
CODE = "import os, keras_regvq; print(repr(os.environ.get('XLA_FLAGS')))"


def flags_after_import(backend, given=None, code=CODE):
    environment = {**os.environ, "KERAS_BACKEND": backend}
    environment.pop("XLA_FLAGS", None)
    if given is not None:
        environment["XLA_FLAGS"] = given
    words = [sys.executable, "-c", code]
    printed = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return printed.stdout.strip()


@pytest.mark.parametrize(
    "backend, given, expected",
    [
        ("jax", None, f"'{FLAG}-individual_convolution'"),
        ("jax", "--a=1", f"'--a=1 {FLAG}-individual_convolution'"),
        ("jax", f"{FLAG}dot", f"'{FLAG}dot'"),
        ("torch", None, "None"),
    ],
)
def test_convolutions_are_xlas_own_unless_the_user_has_said_something(backend, given, expected):
    assert flags_after_import(backend, given) == expected


def test_a_jaxlib_that_may_not_know_the_flag_does_not_get_it():
    other = "import importlib.metadata as m; m.version = lambda name: '0.11.0'; "
    assert flags_after_import("jax", code=other + CODE) == "None"


@pytest.mark.seldom
def test_jax_takes_the_flag_even_after_keras_has_been_imported():
    """XLA would end the process for an unknown one. A new jaxlib needs a look at whether the flag
    still helps: `backend/jax_environment.py`."""
    pytest.importorskip("jax")
    code = (
        "import keras, os, keras_regvq, jax; jax.numpy.ones(1) + 1; print(os.environ['XLA_FLAGS'])"
    )
    assert version("jaxlib").startswith("0.10.")
    assert FLAG in flags_after_import("jax", code=code)


def test_what_jax_compiles_is_kept_in_the_users_cache(tmp_path):
    pytest.importorskip("jax")
    code = """
import keras_regvq.backend.jax_environment as environment
environment.keep_what_jax_compiles()
import jax
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event.endswith("cache_hits")))
jax.jit(lambda x: x @ x + 1)(jax.numpy.ones((8, 8)))
print(sum(hits))
"""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    for name in [name for name in environment if name.startswith("JAX_")]:
        del environment[name]
    words = [sys.executable, "-c", code]

    def hits():
        ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        return int(ended.stdout)

    assert hits() == 0
    assert any("lambda" in path.name for path in (tmp_path / "keras_regvq").glob("jax_*/*"))
    assert hits() > 0


def test_a_recipe_keeps_what_jax_compiles(tmp_path):
    code = "import os; from shared.running import run; run(lambda: print(dict(os.environ)))"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "recipes")])
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    words = [sys.executable, "-c", code]
    printed = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert f"'JAX_COMPILATION_CACHE_DIR': '{tmp_path}" in printed.stdout


def test_the_users_own_cache_holds(monkeypatch):
    monkeypatch.setattr(os, "environ", {"JAX_COMPILATION_CACHE_DIR": "mine"})
    keep_what_jax_compiles()
    assert os.environ == {"JAX_COMPILATION_CACHE_DIR": "mine"}

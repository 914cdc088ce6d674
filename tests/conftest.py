"""Every test runs on the backend that KERAS_BACKEND names.

Guides, the README and recipes are long, and what they call is tested on every backend by shorter
tests. In a run of the whole suite each of their files runs on one backend, and on another one
tomorrow; `--all` runs all of them, and so does a run that names files.
"""

import os

import keras
import numpy as np
import pytest

keras.config.disable_traceback_filtering()

BACKENDS = ("tensorflow", "jax", "torch")
LONG = ("tests/guides/", "tests/recipes/", "tests/test_readme.py")


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="guides and recipes on every backend")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--all") or config.args_source != pytest.Config.ArgsSource.TESTPATHS:
        return
    files = [item.nodeid.split("::")[0] for item in items]
    long_files = sorted({file for file in files if file.startswith(LONG)})
    # The same day for all workers and all three backends: `run.sh` sets it.
    first = int(os.environ.get("TEST_DAY", "0"))
    others = {
        file
        for number, file in enumerate(long_files, first)
        if BACKENDS[number % 3] != keras.backend.backend()
    }
    left_out = [item for item, file in zip(items, files, strict=True) if file in others]
    items[:] = [item for item, file in zip(items, files, strict=True) if file not in others]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True)
def fixed_seed():
    keras.utils.set_random_seed(7)


@pytest.fixture
def rng():
    return np.random.default_rng(7)

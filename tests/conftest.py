"""Every test runs on the backend that KERAS_BACKEND names.

What no backend computes (files, data, messages) and what is long and made of parts that have tests
of their own (guides, recipes) need not be tested three times. In a run of the whole suite each such
file runs on one backend, and on another one tomorrow; `--all` runs all of them everywhere, and so
does a run that names files.
"""

import os

import keras
import numpy as np
import pytest

keras.config.disable_traceback_filtering()

BACKENDS = ("tensorflow", "jax", "torch")
ONE_BACKEND = (
    "tests/benchmarks/",
    "tests/data/",
    "tests/files/",
    "tests/guides/",
    "tests/models/features/",
    "tests/models/generators/test_token_cache.py",
    "tests/models/text_encoders/",
    "tests/presets/formats/",
    "tests/presets/test_hub.py",
    "tests/presets/test_preset_safety.py",
    "tests/presets/test_preset_saving.py",
    "tests/recipes/",
    "tests/test_main.py",
    "tests/test_package.py",
    "tests/test_pictures.py",
    "tests/test_readme.py",
)


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="all tests on every backend")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--all") or config.args_source != pytest.Config.ArgsSource.TESTPATHS:
        return
    files = [item.nodeid.split("::")[0] for item in items]
    turns = sorted({file for file in files if file.startswith(ONE_BACKEND)})
    # The same day for all workers and all three backends: `run.sh` sets it.
    first = int(os.environ.get("TEST_DAY", "0"))
    others = {
        file
        for number, file in enumerate(turns, first)
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

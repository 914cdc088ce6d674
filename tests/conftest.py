"""Every test runs on the backend that KERAS_BACKEND names."""

import keras
import numpy as np
import pytest

keras.config.disable_traceback_filtering()


@pytest.fixture(autouse=True)
def fixed_seed():
    keras.utils.set_random_seed(7)


@pytest.fixture
def rng():
    return np.random.default_rng(7)

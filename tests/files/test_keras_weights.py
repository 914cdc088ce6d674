"""Weights files of Keras, written whole."""

import keras
import numpy as np
import pytest

from keras_regvq.files.keras_weights import save_weights
from tests.files.test_replacing import small_disk


def trained():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(64)])
    model.compile(keras.optimizers.Adam(), "mse")
    model.fit(np.ones((8, 4), "float32"), np.zeros((8, 64), "float32"), verbose=0)
    return model


def test_keras_reads_what_was_written_with_the_optimizer(tmp_path):
    model = trained()
    save_weights(model, tmp_path / "a.weights.h5")
    other = trained()
    for variable in other.variables + other.optimizer.variables:
        variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
    other.load_weights(tmp_path / "a.weights.h5")
    for wanted, found in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(wanted, found)
    for wanted, found in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(wanted.numpy(), found.numpy())


def test_a_full_disk_is_an_error_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.weights.h5"
    save_weights(trained(), path)
    before = path.read_bytes()
    with small_disk(2000), pytest.raises(OSError, match="a.weights.h5"):
        save_weights(trained(), path)
    assert path.read_bytes() == before

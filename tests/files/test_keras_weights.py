"""Weights files of Keras, made in memory."""

import keras
import numpy as np

from keras_regvq.files.keras_weights import weights_in_memory


def trained():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(64)])
    model.compile(keras.optimizers.Adam(), "mse")
    model.fit(np.ones((8, 4), "float32"), np.zeros((8, 64), "float32"), verbose=0)
    return model


def test_keras_reads_what_was_written_with_the_optimizer(tmp_path):
    model = trained()
    (tmp_path / "a.weights.h5").write_bytes(weights_in_memory(model))
    other = trained()
    for variable in other.variables + other.optimizer.variables:
        variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
    other.load_weights(tmp_path / "a.weights.h5")
    for wanted, found in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(wanted, found)
    for wanted, found in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(wanted.numpy(), found.numpy())

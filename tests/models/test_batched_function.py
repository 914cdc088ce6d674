"""A compiled function of a model runs what the model is now."""

import keras
import numpy as np
import pytest

from keras_regvq.models.batched_function import BatchedFunction


@pytest.mark.compiled
def test_a_model_that_is_quantized_after_a_call_is_called_quantized(rng):
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(8)])
    function = BatchedFunction(model, model)
    inputs = rng.normal(size=(6, 16)).astype("float32")
    before = function(inputs, 4)
    model.quantize("int8")
    after = function(inputs, 4)
    assert 1e-4 < np.abs(after - before).max() < 0.2
    np.testing.assert_allclose(after, BatchedFunction(model, model)(inputs, 4), atol=1e-6)

"""Models that are built from a file's config stay within bounds."""

import keras
import pytest

from keras_regvq.checks.model_size import ModelTooLarge, limited_size


def build(units):
    layer = keras.layers.Dense(units)
    layer.build((None, 10))
    return layer


def test_a_model_within_the_bounds_is_built():
    with limited_size(1100, 4):
        assert build(50).count_params() + build(50).count_params() == 1100


def test_a_weight_that_is_too_much_is_not_allocated():
    with limited_size(10**6, 100), pytest.raises(ModelTooLarge, match="1000000"):
        build(10**12)
    with limited_size(10**6, 100), pytest.raises(ModelTooLarge):
        for _ in range(51):
            build(1)


def test_nothing_is_bounded_afterwards_nor_after_an_error():
    with pytest.raises(ZeroDivisionError), limited_size(0, 0):
        raise ZeroDivisionError
    assert build(3).count_params() == 33
    assert keras.layers.Layer.add_weight.__module__.startswith("keras.")

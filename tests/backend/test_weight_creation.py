"""Weights that are to be loaded are not drawn first."""

import keras
import numpy as np

import keras_regvq
from keras_regvq.backend.weight_creation import before_each_weight, undrawn_weights


def test_a_change_sees_each_weight_and_its_arguments():
    seen = []
    with before_each_weight(lambda shape, arguments: seen.append((shape, arguments["name"]))):
        keras.layers.Dense(3).build((None, 2))
    keras.layers.Dense(3).build((None, 2))
    assert seen == [((2, 3), "kernel"), ((3,), "bias")]


def test_undrawn_weights_are_zeros_of_their_dtype():
    with undrawn_weights():
        for dtype in ("float32", "bfloat16"):
            layer = keras.layers.Dense(3, dtype=dtype)
            layer.build((None, 2))
            assert layer.kernel.dtype == dtype and layer.kernel.shape == (2, 3)
            assert not np.any(keras.ops.convert_to_numpy(keras.ops.cast(layer.kernel, "float32")))


def test_a_preset_is_loaded_without_drawing_what_its_file_holds(monkeypatch):
    drawn = []
    draw = keras.initializers.VarianceScaling.__call__

    def counted(self, shape, *args, **kwargs):
        drawn.append(shape)
        return draw(self, shape, *args, **kwargs)

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", counted)
    keras_regvq.from_preset("regvq_scenes_64")
    assert not drawn
    keras_regvq.from_preset("regvq_scenes_64", load_weights=False)
    assert drawn

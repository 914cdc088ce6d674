"""Stages whose codebooks are moved: each by what it was given, a shared one by every stage."""

import keras
import numpy as np
import pytest

from keras_regvq.quantizers import ResidualQuantizer, VectorQuantizer
from tests.gradients import assert_close

SETTINGS = (
    {"ema": 0.9, "codebook_start": "kmeans", "dead_code_threshold": 0.5},
    {"codebook_start": "sampled", "dead_code_threshold": 0.5},
)


def state(layer):
    found = [variable for variable in layer.variables if "seed" not in variable.path]
    return [keras.ops.convert_to_numpy(variable.value) for variable in found]


@pytest.mark.parametrize("shared", [False, pytest.param(True, marks=pytest.mark.seldom)])
@pytest.mark.parametrize("settings", SETTINGS, ids=["averages", "gradient"])
def test_each_stage_moves_its_codebook_by_what_the_stages_before_have_left(rng, shared, settings):
    stage = VectorQuantizer(9, 4, seed=1, **settings)
    layer = ResidualQuantizer(stage, 3, shared)
    layer.build((None, None, None, 4))
    alone = [VectorQuantizer.from_config(one.get_config()) for one in layer.stages]
    alone = alone[:1] * 3 if shared else alone
    for one, own in zip(alone, layer.stages, strict=True):
        if not one.built:
            one.build((None, None, None, 4))
            one.codebook.assign(own.codebook)
            if own.upkeep.sums is not None:
                one.upkeep.sums.assign(own.upkeep.sums)
    before = state(layer)
    for _ in range(3):
        features = rng.normal(size=(2, 3, 4, 4)).astype("float32")
        layer(features, training=True)
        left = keras.ops.convert_to_tensor(features)
        for one in alone:
            left = left - one(left, training=True)["embeddings"]
    expected = [value for one in dict.fromkeys(alone) for value in state(one)]
    assert len(expected) == len(before)
    for found, wanted in zip(state(layer), expected, strict=True):
        assert_close(found, wanted)
    assert any(np.abs(b - a).max() > 0.01 for b, a in zip(before, state(layer), strict=True))
    after = state(layer)
    layer(features, training=False)
    layer.best_tokens(features)
    for found, wanted in zip(state(layer), after, strict=True):
        np.testing.assert_array_equal(found, wanted)

"""A label map's tokens as a condition."""

import keras
import numpy as np
import pytest

from keras_regvq import models
from tests.models.priors.tiny_prior import IMAGE, make_label_tokenizer, random_maps

pytestmark = pytest.mark.eager


def test_a_tokenized_condition_never_trains_its_tokenizer():
    tokenizer = make_label_tokenizer()
    condition = models.TokenizedMapCondition(tokenizer)
    prior = models.AutoregressivePrior(7, (4, 6), 1, 2, 16, condition)
    before = [keras.ops.convert_to_numpy(v).copy() for v in tokenizer.variables]
    prior.compile(keras.optimizers.SGD(0.1))
    history = prior.fit(
        {"tokens": random_maps()[:, ::4, ::4], "condition": random_maps()}, verbose=0
    )
    assert set(history.history) == {"loss", "bits_per_token"}
    for variable, value in zip(tokenizer.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    assert condition.shape == IMAGE
    with pytest.raises(ValueError, match="tokenizer"):
        models.TokenizedMapCondition("vqgan")

"""A caption's features as a condition."""

import warnings

import numpy as np
import pytest

from keras_regvq import models


def test_text_features_are_checked():
    condition = models.TextFeatureCondition(4, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert condition.check(np.ones((2, 4, 6))).dtype == np.float32
    for values in (np.ones((2, 4, 5)), np.ones((2, 4, 6), int)):
        with pytest.raises(ValueError, match=r"floats of shape \(B, \*\(4, 6\)\)"):
            condition.check(values)

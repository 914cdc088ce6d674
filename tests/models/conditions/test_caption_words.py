"""A caption's words as a condition."""

import numpy as np
import pytest
from keras import ops

from keras_regvq import models
from tests.models.priors.tiny_prior import randomize


def test_a_word_condition_ignores_what_follows_the_end():
    condition = models.WordCondition(20, 6, num_layers=1, num_heads=2)
    condition.build_for((4, 6), 8)
    randomize(condition)
    short = np.array([[5, 7, 1, 0, 0, 0]], "int32")
    prefix, aligned = condition(ops.convert_to_tensor(short))
    assert aligned is None and tuple(prefix.shape) == (1, 6, 8)
    mask = ops.convert_to_numpy(condition.prefix_mask(ops.convert_to_tensor(short)))
    assert mask.tolist() == [[True, True, True, False, False, False]]
    # The three that count are the same when there is no room for more.
    cut = models.WordCondition(20, 3, num_layers=1, num_heads=2)
    cut.build_for((4, 6), 8)
    for ours, theirs in zip(cut.weights, condition.weights, strict=True):
        ours.assign(theirs[: ours.shape[0]] if ours.shape != theirs.shape else theirs)
    alone, _ = cut(ops.convert_to_tensor(short[:, :3]))
    expected = ops.convert_to_numpy(alone)
    np.testing.assert_allclose(ops.convert_to_numpy(prefix)[:, :3], expected, atol=1e-5)


@pytest.mark.parametrize("values", [[[5, 7, 1]], [[5] * 6, [99] * 6], [[0.5] * 6]])
def test_wrong_word_numbers_are_named(values):
    condition = models.WordCondition(20, 6)
    with pytest.raises(ValueError, match="word numbers"):
        condition.check(np.asarray(values))

"""A class label as a condition."""

import numpy as np
import pytest
from keras import ops

from keras_regvq import models


def test_a_class_is_a_prefix_of_its_own_vector():
    condition = models.ClassCondition(5)
    condition.build_for((4, 6), 8)
    prefix, aligned = condition(ops.convert_to_tensor(np.int32([3, 0, 3])))
    table = ops.convert_to_numpy(condition.embedding.embeddings)
    np.testing.assert_array_equal(ops.convert_to_numpy(prefix), table[[3, 0, 3]][:, None])
    assert aligned is None and condition.prefix_length == 1


@pytest.mark.parametrize("labels", [[5], [-1], [0.5], [[1]], []])
def test_wrong_class_labels_are_named(labels):
    with pytest.raises(ValueError, match="`condition`.*class labels"):
        models.ClassCondition(5).check(np.asarray(labels))

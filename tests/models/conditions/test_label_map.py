"""A label map's patches as a condition, against sums of the vectors of its labels."""

import numpy as np
import pytest
from keras import ops

from keras_regvq import models
from tests.models.priors.tiny_prior import CLASSES, GRID, IMAGE, random_maps, randomize


def patch_sums(maps, layer, grid):
    """Each label of a patch adds the kernel's vector of its place and label."""
    kernel, bias = (ops.convert_to_numpy(weight) for weight in layer.weights)
    height, width = kernel.shape[:2]
    sums = np.zeros((len(maps), *grid, kernel.shape[-1]), "float32")
    for y, x in np.ndindex(maps.shape[1:]):
        sums[:, y // height, x // width] += kernel[y % height, x % width, maps[:, y, x]]
    return (sums + bias).reshape(len(maps), -1, kernel.shape[-1])


def test_prefix_and_aligned_vectors_are_sums_over_their_patches():
    condition = models.LabelMapCondition(CLASSES, IMAGE, prefix_grid=(2, 3))
    condition.build_for(GRID, 8)
    randomize(condition)
    maps = random_maps().astype("int32")
    prefix, aligned = condition(ops.convert_to_tensor(maps))
    places = ops.convert_to_numpy(condition.positions(ops.zeros((1, 6, 8))))
    expected = patch_sums(maps, condition.prefix, (2, 3)) + places
    np.testing.assert_allclose(ops.convert_to_numpy(prefix), expected, atol=1e-4)
    expected = patch_sums(maps, condition.aligned, GRID)
    np.testing.assert_allclose(ops.convert_to_numpy(aligned), expected, atol=1e-4)


def test_a_map_that_the_grid_does_not_divide_is_named():
    condition = models.LabelMapCondition(CLASSES, (16, 25))
    with pytest.raises(ValueError, match="`image_size`.*multiples of the prefix grid"):
        condition.build_for(GRID, 8)


@pytest.mark.parametrize("maps", [np.full((1, *IMAGE), CLASSES), np.zeros((1, 16, 16), int)])
def test_wrong_label_maps_are_named(maps):
    with pytest.raises(ValueError, match="`condition`"):
        models.LabelMapCondition(CLASSES, IMAGE).check(maps)

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


def test_a_word_is_read_with_its_neighbours_before_the_transformer():
    condition = models.WordCondition(20, 6, num_layers=1, num_heads=2)
    condition.build_for((4, 6), 8)
    randomize(condition)
    words = np.array([[5, 7, 3, 4, 8, 1]], "int32")
    reads = {}  # by a transformer that passes on what it is given
    condition.blocks = [lambda x, padding_mask: reads.setdefault("x", x)]
    condition(ops.convert_to_tensor(words))
    embedded = ops.convert_to_numpy(condition.embedding(ops.convert_to_tensor(words)))[0]
    kernel, bias = condition.neighbours.get_weights()
    padded = np.pad(embedded, ((1, 1), (0, 0)))
    expected = embedded + bias + sum(padded[k : k + 6] @ kernel[k] for k in range(3))
    np.testing.assert_allclose(ops.convert_to_numpy(reads["x"])[0], expected, atol=1e-5)


def test_a_network_from_before_the_convolution_gains_one_unchanged():
    words = ops.convert_to_tensor(np.array([[5, 7, 1, 0, 0, 0]], "int32"))
    old = models.WordCondition(20, 6, num_layers=1, num_heads=2, kernel_size=1)
    config = {name: value for name, value in old.get_config().items() if name != "kernel_size"}
    assert models.WordCondition.from_config(config).kernel_size == 1
    new = models.WordCondition(20, 6, num_layers=1, num_heads=2)
    for condition in (old, new):
        condition.build_for((4, 6), 8)
    randomize(old)
    new.set_weights([*old.get_weights(), *new.get_weights()[len(old.weights) :]])
    expected = ops.convert_to_numpy(old(words)[0])
    np.testing.assert_allclose(ops.convert_to_numpy(new(words)[0]), expected, atol=1e-6)


def test_an_even_kernel_has_no_middle():
    with pytest.raises(ValueError, match="kernel_size.*an odd number of words"):
        models.WordCondition(20, 6, kernel_size=2)

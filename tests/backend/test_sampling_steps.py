"""A sampler's products, its attention and its cache, beside NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_regvq.backend import sampling_steps


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def numpy(tensor):
    return keras.ops.convert_to_numpy(ops.cast(tensor, "float32"))


@pytest.mark.parametrize("rows", [1, 8, 33])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("bfloat16", 0.05)])
def test_affine_is_a_product_and_a_bias(rows, dtype, tolerance):
    inputs, kernel, bias = random(rows, 20), random(20, 12, seed=1), random(12, seed=2)
    given = [ops.cast(ops.convert_to_tensor(array), dtype) for array in (inputs, kernel, bias)]
    exact = [numpy(tensor) for tensor in given]
    for with_bias in (True, False):
        prepared = sampling_steps.prepare_affine(given[1], given[2] if with_bias else None, rows)
        expected = exact[0] @ exact[1] + (exact[2] if with_bias else 0)
        found = numpy(sampling_steps.affine(given[0], prepared))
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("settled", [0, 3])
def test_attention_reads_what_is_settled_and_what_has_been_written_since(settled):
    query, keys, values = random(2, 4, 1, 8), random(2, 4, 8, 8, seed=1), random(2, 4, 8, 8, seed=2)
    known = settled + 3  # of the five recent positions, three are there
    scores = np.einsum("bhqd,bhtd->bhqt", query, keys[:, :, :known]) / 8**0.5
    shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    expected = np.einsum("bhqt,bhtd->bhqd", shares, values[:, :, :known])
    pairs = [
        [ops.convert_to_tensor(array[:, :, part]) for array in (keys, values)]
        for part in (slice(settled), slice(settled, settled + 5))
    ]
    found = sampling_steps.attend(ops.convert_to_tensor(query), *pairs, 2)
    np.testing.assert_allclose(numpy(found), expected, atol=1e-5)


def test_a_position_is_written():
    cache, update = random(2, 4, 5, 8), random(2, 4, 1, 8, seed=1)
    given = ops.convert_to_tensor(cache.copy()), ops.convert_to_tensor(update)
    written = sampling_steps.write_position(given[0], 3, given[1])
    cache[:, :, 3] = update[:, :, 0]
    np.testing.assert_array_equal(numpy(written), cache)

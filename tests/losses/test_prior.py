"""KL(P || uniform)."""

import numpy as np
import pytest

from keras_regvq.losses import kl_to_uniform
from tests.gradients import assert_close, value_and_gradients


def kl(rows):
    return kl_to_uniform(np.asarray(rows, "float32"))


@pytest.mark.parametrize("size", [2, 64, 1024])
def test_it_is_zero_for_the_uniform_distribution(size):
    value = float(kl(np.full(size, 1 / size)))
    assert abs(value) < 1e-6


@pytest.mark.parametrize("size", [2, 64, 1024])
def test_it_is_log_n_for_a_one_hot(size):
    assert_close(kl(np.eye(size)[size // 2]), np.log(size))


def test_it_is_log_n_over_the_positions_where_each_takes_a_code_of_its_own():
    """The floor of scope "image" in the paper: 256 positions and 1,024 codes."""
    distribution = np.zeros(1024)
    distribution[::4] = 1 / 256
    assert_close(kl(distribution), np.log(1024 / 256))


def test_each_row_counts_alone(rng):
    rows = rng.dirichlet(np.ones(7), size=(2, 3))
    expected = (rows * np.log(7 * rows)).sum(-1)
    value = kl(rows)
    assert tuple(value.shape) == (2, 3)
    assert_close(value, expected)


def test_the_gradient_at_an_unused_code_is_large_and_finite():
    distribution = np.array([0.75, 0.25, 0.0, 0.0])
    _, (gradient,) = value_and_gradients(kl_to_uniform, distribution)
    expected = [np.log(4 * 0.75) + 1, np.log(4 * 0.25) + 1, np.log(1e-10), np.log(1e-10)]
    assert_close(gradient, expected)

"""A bound on the size of models that are built from a file's config."""

import math

from keras_regvq.backend.weight_creation import before_each_weight


class ModelTooLarge(ValueError):
    """A model has more numbers or weights than it may have."""


def limited_size(numbers, weights):
    """Let the layers that are built in the body have so many numbers in so many weights at most.

    Sizes from a damaged or hostile config end here, and not with the memory.

    Args:
        numbers: elements of all weights together.
        weights: how many weights.

    Returns:
        a context manager.

    Raises:
        ModelTooLarge: before the weight is allocated that is too much.
    """
    left = [numbers, weights]

    def count(shape, arguments):
        left[0] -= math.prod(shape) if isinstance(shape, (tuple, list)) else 1
        left[1] -= 1
        if min(left) < 0:
            raise ModelTooLarge(f"it has more than {numbers} numbers or {weights} weights")

    return before_each_weight(count)

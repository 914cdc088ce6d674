"""A bound on the size of models that are built from a file's config."""

import contextlib
import math
import threading

import keras

_one_at_a_time = threading.RLock()


class ModelTooLarge(ValueError):
    """A model has more numbers or weights than it may have."""


@contextlib.contextmanager
def limited_size(numbers, weights):
    """Let the layers that are built in the body have so many numbers in so many weights at most.

    Keras has no place to ask before it allocates, so `Layer.add_weight` is wrapped meanwhile: sizes
    from a damaged or hostile config end here, and not with the memory.

    Args:
        numbers: elements of all weights together.
        weights: how many weights.

    Raises:
        ModelTooLarge: before the weight is allocated that is too much.
    """
    thread, left = threading.get_ident(), [numbers, weights]

    def add_weight(layer, *args, **kwargs):
        if threading.get_ident() == thread:
            shape = kwargs["shape"] if "shape" in kwargs else (args[0] if args else ())
            left[0] -= math.prod(shape) if isinstance(shape, (tuple, list)) else 1
            left[1] -= 1
            if min(left) < 0:
                raise ModelTooLarge(f"it has more than {numbers} numbers or {weights} weights")
        return original(layer, *args, **kwargs)

    with _one_at_a_time:
        original = keras.layers.Layer.add_weight
        keras.layers.Layer.add_weight = add_weight
        try:
            yield
        finally:
            keras.layers.Layer.add_weight = original

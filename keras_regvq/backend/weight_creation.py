"""A say in the weights that layers create, for models that are built from files."""

import contextlib
import threading

import keras
import numpy as np

_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def before_each_weight(change):
    """Call `change` before each weight that this thread's layers create in the body.

    Keras has no place to ask before it allocates, so `Layer.add_weight` is wrapped meanwhile.

    Args:
        change: takes the weight's shape, as the layer gives it, and the dict of the other
            arguments of `add_weight`, which it may change; what it raises, `add_weight` raises.
    """
    thread = threading.get_ident()

    def add_weight(layer, *args, **kwargs):
        if threading.get_ident() == thread:
            change(kwargs["shape"] if "shape" in kwargs else (args[0] if args else ()), kwargs)
        return original(layer, *args, **kwargs)

    with _one_at_a_time:
        original = keras.layers.Layer.add_weight
        keras.layers.Layer.add_weight = add_weight
        try:
            yield
        finally:
            keras.layers.Layer.add_weight = original


def undrawn_weights():
    """Create weights of zeros in the body, whatever their initializers: they are to be loaded.

    JAX compiles a random draw anew for each shape: ten seconds for a tokenizer of 58 weights.
    """

    def change(shape, arguments):
        arguments["initializer"] = _zeros

    return before_each_weight(change)


def _zeros(shape, dtype=None):
    if dtype in ("float32", "float16", "float64", "int32", "int64"):
        return np.zeros(shape, dtype)  # nothing to be compiled
    return keras.ops.zeros(shape, dtype)

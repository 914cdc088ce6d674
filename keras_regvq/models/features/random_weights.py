"""Random weights that one seed makes equal on every backend."""

import random

import numpy as np


def weights_generator(seed):
    """NumPy's generator of random weights.

    Args:
        seed: integer. None takes one from Python's generator, as Keras' own initializers do, so
            that `keras.utils.set_random_seed` decides.
    """
    return np.random.default_rng(random.randrange(2**31) if seed is None else seed)

"""Optimizers' updates, computed the way that a backend is fastest at."""

import keras

if keras.backend.backend() == "torch":
    from keras_regvq.backend.torch_optimizers import Muon
else:
    Muon = keras.optimizers.Muon  # what is compiled does not pay for each call

__all__ = ["Muon"]

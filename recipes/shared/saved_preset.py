"""The preset at the end of a training."""

import keras

import keras_regvq
from keras_regvq.backend.processes import is_first_process


def save_preset(model, directory, weights_dtype):
    """Write a trained model's preset, which computes in float32 whatever it was trained in.

    Mixed precision is a way to train: on a machine without such units it is slow, and coarser.
    One of several processes does it.
    """
    if not is_first_process():
        return
    model.save_to_preset(directory, weights_dtype)
    if keras.config.dtype_policy().name != "float32":
        saved = keras_regvq.from_preset(str(directory), dtype="float32")
        saved.save_to_preset(directory, weights_dtype)

"""The preset at the end of a training."""

import keras

import keras_regvq
from keras_regvq.backend.processes import is_first_process, wait_for_all


def save_preset(model, directory, weights_dtype, card):
    """Write a trained model's preset, which computes in float32 whatever it was trained in.

    Mixed precision is a way to train: on a machine without such units it is slow, and coarser.
    One of several processes does it.
    """
    if is_first_process():
        model.save_to_preset(directory, weights_dtype, card)
    if keras.config.dtype_policy().name != "float32":
        wait_for_all()
        saved = keras_regvq.from_preset(str(directory), dtype="float32")  # on JAX by all at once
        wait_for_all()
        if is_first_process():
            saved.save_to_preset(directory, weights_dtype, card)


def write_card(model, directory, card):
    """Write the preset's card anew, with what was measured; one of several processes does it."""
    if is_first_process():
        model.write_card(directory, card)

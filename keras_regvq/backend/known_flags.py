"""Flags in the state of a layer, for what happens once."""

import keras

_BACKEND = keras.backend.backend()


def is_known_to_hold(flag):
    """Whether a flag, a variable that is 0 or not, is known on the host not to be 0.

    TensorFlow and JAX compile a branch that looks at it on the device, so that here nothing is
    known. PyTorch takes its steps one by one, and to look at a value waits for all that the device
    has to do: it is looked at again only after it was assigned.
    """
    if _BACKEND != "torch":
        return False
    value = flag.value
    if getattr(value, "held_at_version", None) == value._version:
        return True
    if not value:
        return False
    value.held_at_version = value._version
    return True

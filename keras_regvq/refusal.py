"""The one way this package refuses an argument; free of keras, whose import can be TensorFlow's."""

import numpy as np


def refuse(argument, received, expected):
    """Raise the ValueError that every check of this package ends in."""
    raise ValueError(f"Argument `{argument}` is wrong. Received: {received}. Expected: {expected}.")


def check_integer(argument, value, least):
    """Return `value` as an int of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        refuse(argument, repr(value), f"an integer of at least {least}")
    return int(value)


def check_choice(argument, value, choices):
    """Return `value`, which must be one of `choices`."""
    if value is not None and not isinstance(value, str) or value not in choices:
        refuse(argument, repr(value), f"one of {', '.join(map(repr, choices))}")
    return value

"""The one way this package refuses an argument, and checks of numbers, sizes and choices.

Free of keras, whose import can be TensorFlow's.
"""

import numpy as np


def refuse(argument, received, expected):
    """Raise the ValueError that every check of this package ends in."""
    raise ValueError(f"Argument `{argument}` is wrong. Received: {received}. Expected: {expected}.")


def check_integer(argument, value, least):
    """Return `value` as an int of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        refuse(argument, repr(value), f"an integer of at least {least}")
    return int(value)


def check_integers(argument, values, least, fewest=0):
    """Return a list or tuple of integers of at least `least` as a tuple of int."""
    if not isinstance(values, (list, tuple)) or len(values) < fewest:
        refuse(argument, repr(values), f"a tuple of {f'at least {fewest} ' * (fewest > 0)}integers")
    return tuple(check_integer(argument, value, least) for value in values)


def check_positive_integer(argument, value):
    """Return `value` as an int of at least 1."""
    return check_integer(argument, value, 1)


def check_seed(argument, seed, most=2**31 - 1):
    """Return `seed`: None, or an integer from 0 to `most`, by default the largest of PyTorch's."""
    if seed is None:
        return None
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not whole or seed < 0 or (most is not None and seed > most):
        expected = "of at least 0" if most is None else f"from 0 to {most}"
        refuse(argument, repr(seed), f"an integer {expected}, or None")
    return int(seed)


def check_number(argument, value, low=0.0, high=float("inf")):
    """Return `value` as a float; it must be a finite number in [low, high]."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not real or not np.isfinite(value) or not low <= value <= high:
        interval = f"[{low}, {high}]" if np.isfinite(high) else f"at least {low}"
        refuse(argument, repr(value), f"a number, {interval}")
    return float(value)


def check_size(argument, value, least=1):
    """Return `value`, a side or (height, width) of at least `least` pixels, as (height, width)."""
    sides = value if isinstance(value, (tuple, list)) else (value, value)
    valid = len(sides) == 2 and all(
        isinstance(side, (int, np.integer)) and not isinstance(side, bool) and side >= least
        for side in sides
    )
    if not valid:
        refuse(argument, repr(value), f"a side of at least {least}, or (height, width) of such")
    return tuple(int(side) for side in sides)


def check_grid(argument, grid):
    """Return a grid or size, one positive integer or two, as (height, width)."""
    sides = grid if isinstance(grid, (tuple, list)) else (grid, grid)
    if len(sides) != 2:
        refuse(argument, repr(grid), "an integer or (height, width)")
    return tuple(check_positive_integer(argument, side) for side in sides)


def check_choice(argument, value, choices):
    """Return `value`, which must be one of `choices`."""
    if value is not None and not isinstance(value, str) or value not in choices:
        refuse(argument, repr(value), f"one of {', '.join(map(repr, choices))}")
    return value

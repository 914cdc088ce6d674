"""Weights that are numbers: a network with one NaN gives nothing but NaN."""

import numpy as np


def is_finite(values):
    """Whether an array has neither NaN nor infinity, as float32; integers never have."""
    if values.dtype.kind in "iub":
        return True
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype("float32")).all())

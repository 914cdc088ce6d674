"""NumPy's scalars, arrays and dtypes in a pickle, as data."""

import re
import reprlib
from pickle import UnpicklingError

import numpy as np

_LONGEST_CODE = 30
_NUMBERS = re.compile(r"b1|\?|[iu][1248]|f[248]|c8|c16")
# dtypes.Float64DType and the like, which pickles of some versions name.
_CLASSES = re.compile(r"(Bool|U?Int(8|16|32|64)|Float(16|32|64)|Complex(64|128))DType")


def dtype(code, state=None):
    """numpy.dtype(code), with the byte order that its state has; None for all but numbers."""
    if not isinstance(code, str) or len(code) > _LONGEST_CODE:
        return None
    known = _CLASSES.fullmatch(code)
    if known:
        return np.dtype(known[1].lower())
    if not _NUMBERS.fullmatch(code.lstrip("<>=|")):
        return None
    found = np.dtype(code)
    if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
        found = found.newbyteorder(state[1])
    return found


def scalar(kind, data):
    """numpy.core.multiarray.scalar(dtype, bytes) as a NumPy number."""
    check_data(data)
    if len(data) != kind.itemsize:
        raise UnpicklingError(f"it has a {kind} of {len(data)} bytes")
    data = _bytes(data)
    return np.frombuffer(data, _checked(kind, data))[0].astype(kind.newbyteorder("="))


def array(shape, kind, fortran, data):
    """An array of the state that `ndarray.__reduce__` gives; its bytes are not copied."""
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**62 for n in shape):
        raise UnpicklingError(f"it has an array of shape {reprlib.repr(shape)}")
    check_data(data)
    count = 1
    for side in shape:
        count *= side
    if count * kind.itemsize != len(data):
        raise UnpicklingError(
            f"it has an array of shape {reprlib.repr(shape)} in {len(data):,} bytes"
        )
    data = _bytes(data)
    values = np.frombuffer(data, _checked(kind, data))
    return values.reshape(shape, order="F" if fortran else "C")


def check_data(data):
    """Refuse what are no pickled data: bytes, or a text of as many characters."""
    if not isinstance(data, (str, bytes, bytearray)):
        raise UnpicklingError("it has an array without its data")


def _bytes(data):
    return data.encode("latin-1") if isinstance(data, str) else data  # as Python 2 has it


def _checked(kind, data):
    """`kind`, if the bytes can be of it."""
    if kind == np.dtype(bool) and np.frombuffer(data, "uint8").max(initial=0) > 1:
        raise UnpicklingError("it has booleans that are neither true nor false")
    return kind

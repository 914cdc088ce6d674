"""The safetensors format: a JSON header of names, dtypes, shapes and places, then the data.

Read by NumPy alone, since the package safetensors knows no bfloat16 without PyTorch.
Source: https://github.com/huggingface/safetensors, "Format".
"""

import json
import math

import numpy as np

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.reading import file_size, reading
from keras_regvq.files.regular_files import open_regular
from keras_regvq.files.replacing import replacing

_LARGEST_HEADER = 2**24  # bytes; the format allows 10^8, and a hundred thousand tensors take 10^7
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32",
    "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip
_NAMES = {name: code for code, name in _DTYPES.items()}
_EXPECTED = "an intact file in the safetensors format"


def read_safetensors(path, names=None, argument="path"):
    """Read the tensors of a file.

    Args:
        path: the file.
        names: those to read, where the file has them; default all.
        argument: the argument that named the file, for errors.

    Returns:
        {name: array}; bfloat16 as float32. Tensors of dtypes that NumPy lacks, such as float8, are
        left out.

    Raises:
        ValueError: naming the file, if it is damaged or of another format.
    """
    with reading(path, _EXPECTED, argument):
        with open_regular(path) as file:
            size = file_size(file)
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size - 8, _LARGEST_HEADER):
                raise ValueError(f"its header would have {length:,} bytes")
            header = json.loads(file.read(length).decode(), object_pairs_hook=_without_repetition)
            places = _places(header, size - 8 - length)
            found = {}
            for name, (dtype, shape, start) in places.items():
                if dtype is not None and (names is None or name in names):
                    file.seek(8 + length + start)
                    found[name] = _read_array(file, dtype, shape)
            return found


def write_safetensors(tensors, path):
    """Write {name: array}, as PyTorch's projects read it; whole or not at all.

    Raises:
        OSError: naming `path`, such as for a full disk.
    """
    header, start = {"__metadata__": {"format": "pt"}}, 0
    for name, array in tensors.items():
        code = _NAMES.get(array.dtype.name)
        if code is None:
            refuse("tensors", f"{name} of dtype {array.dtype}", f"one of {', '.join(_NAMES)}")
        end = start + array.nbytes
        shape = list(array.shape)
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that data are aligned
    with replacing(path) as part, open(part, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in tensors.values():
            array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            file.write(array.reshape(-1).view("uint8").data)


def _without_repetition(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a name twice")
    return found


def _places(header, size):
    """{name: (dtype, shape, first byte)}: together the tensors fill the file, and none overlap."""
    if not isinstance(header, dict):
        raise TypeError("its header is no JSON object")
    places, ends = {}, {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        code, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(code, str) or not _are_sizes([start, end]) or not start <= end <= size:
            raise ValueError(f"{name:.80} does not lie inside the file")
        if not isinstance(shape, list) or len(shape) > 64 or not _are_sizes(shape):
            raise ValueError(f"{name:.80} has sides that are no sizes")
        dtype = _DTYPES.get(code)
        if dtype is not None and math.prod(shape) * _stored_as(dtype).itemsize != end - start:
            raise ValueError(f"{name:.80} of {shape} has {end - start:,} bytes of {code}")
        places[name], ends[name] = (dtype, tuple(shape), start), end
    before = 0
    for name, (_, _, start) in sorted(places.items(), key=lambda item: (item[1][2], ends[item[0]])):
        if start != before:
            raise ValueError(f"{name:.80} overlaps another tensor, or leaves a gap")
        before = ends[name]
    if before != size:
        raise ValueError(f"its tensors have {before:,} bytes, and the file {size:,}")
    return places


def _read_array(file, dtype, shape):
    stored = _stored_as(dtype)
    array = np.fromfile(file, stored, math.prod(shape))
    if len(array) < math.prod(shape):
        raise ValueError("it ends too early")
    array = array.reshape(shape)
    return (array.astype("uint32") << 16).view("float32") if dtype == "bfloat16" else array


def _stored_as(dtype):
    return np.dtype("uint16" if dtype == "bfloat16" else dtype).newbyteorder("<")


def _are_sizes(values):
    return all(type(value) is int and 0 <= value < 2**62 for value in values)

"""Tensors as PyTorch pickles them: a storage's bytes, and where in it a tensor lies."""

import reprlib
from pickle import UnpicklingError
from typing import NamedTuple

import numpy as np

# How a storage's bytes are kept in NumPy; bfloat16, the upper half of a float32, as integers.
DTYPES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}  # fmt: skip
# What `_rebuild_tensor_v3` names beside an untyped storage.
_NAMED_DTYPES = {
    name: name for name in (
        "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8",
        "uint16", "uint32", "uint64", "bool", "complex64", "complex128",
    )
}  # fmt: skip
_MOST_DIMENSIONS = 64


class Storage(NamedTuple):
    """A run of `count` values of a dtype in the bytes called `key`, from the value `start` on."""

    key: str
    dtype: str
    start: int
    count: int


def itemsize(dtype):
    return stored_as(dtype).itemsize


def stored_as(dtype):
    return np.dtype("uint16" if dtype == "bfloat16" else dtype)


def find_storage(identifier):
    """The Storage that a persistent identifier names."""
    if not isinstance(identifier, tuple) or not 5 <= len(identifier) <= 6:
        raise UnpicklingError("it has no storage where one should be")
    kind, storage_type, key, _, count, *view = identifier
    dtype = DTYPES.get(getattr(storage_type, "name", None))
    module = getattr(storage_type, "module", None)
    if kind != "storage" or module not in ("torch", "torch.storage") or not _is_size(count):
        raise UnpicklingError(f"it has {reprlib.repr(kind)} in the place of a storage")
    if dtype is None:
        raise UnpicklingError(f"it has a {storage_type.name:.80}, which NumPy does not know")
    if not isinstance(key, str):
        raise UnpicklingError("it has a storage without a name")
    if not view or view[0] is None:
        return Storage(key, dtype, 0, count)
    # A part of a storage, in files of before PyTorch 0.4: its own name, first value and length.
    if not isinstance(view[0], tuple) or len(view[0]) != 3:
        raise UnpicklingError("it has a part of a storage that is none")
    _, start, length = view[0]
    if not _is_size(start) or not _is_size(length) or start + length > count:
        raise UnpicklingError("it has a part that reaches beyond its storage")
    return Storage(key, dtype, start, length)


class Tensors:
    """Tensors as read-only views of their storages: each storage is in memory once.

    Args:
        read: function of a storage's key that returns its bytes.
        budget: a `Budget` for the tensors, each layout of a storage counted once.
    """

    def __init__(self, read, budget):
        self.read, self.budget = read, budget
        self.values, self.tensors = {}, {}

    def rebuild(self, storage, offset, size, stride, dtype=None):
        """The tensor of a size and stride, in values, that starts at a storage's value `offset`."""
        if not isinstance(storage, Storage):
            raise UnpicklingError("it has a tensor without a storage")
        if dtype is not None:
            storage = _of_dtype(storage, dtype)
        size, stride = tuple(size), tuple(stride)
        if len(size) != len(stride) or len(size) > _MOST_DIMENSIONS:
            raise UnpicklingError(f"it has a tensor of {len(size)} sides and {len(stride)} strides")
        whole = all(type(n) is int and abs(n) < 2**62 for n in (offset, *size, *stride))
        if not whole or offset < 0 or min(size, default=0) < 0:
            raise UnpicklingError(f"it has a tensor with the sides {reprlib.repr(size)}")
        place = storage, offset, size, stride
        if place not in self.tensors:
            self.tensors[place] = self._view(*place)
        return self.tensors[place]

    def _view(self, storage, offset, size, stride):
        count = 1
        for side in size:
            count *= side
        dtype = np.dtype("float32" if storage.dtype == "bfloat16" else storage.dtype)
        if not count:
            return np.empty(size, dtype)
        reach = [(side - 1) * step for side, step in zip(size, stride, strict=True)]
        lowest = offset + sum(step for step in reach if step < 0)
        highest = offset + sum(step for step in reach if step > 0)
        if lowest < 0 or highest >= storage.count:
            raise UnpicklingError(f"it has a tensor of shape {size} beyond its data")
        self.budget.take(count * itemsize(storage.dtype), f"a tensor of shape {size}")
        values = self._values(storage)[offset:]
        steps = [step * values.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(values, size, steps, writeable=False)

    def _values(self, storage):
        if storage not in self.values:
            data, dtype = self.read(storage.key), stored_as(storage.dtype)
            if (storage.start + storage.count) * dtype.itemsize > len(data):
                raise UnpicklingError("tensor data are missing")
            values = np.frombuffer(data, dtype, storage.count, storage.start * dtype.itemsize)
            if storage.dtype == "bfloat16":
                values = (values.astype("uint32") << 16).view("float32")
            elif storage.dtype == "bool":
                values = values.view("uint8") != 0  # other bytes would be neither True nor False
            self.values[storage] = values
        return self.values[storage]


def _of_dtype(storage, name):
    dtype = _NAMED_DTYPES.get(getattr(name, "name", None))
    if dtype is None:
        raise UnpicklingError(f"it has a tensor of {reprlib.repr(name)}, which NumPy does not know")
    size = itemsize(dtype)
    start, rest = divmod(storage.start * itemsize(storage.dtype), size)
    if rest:
        raise UnpicklingError("it has a tensor that starts inside a value")
    return Storage(storage.key, dtype, start, storage.count * itemsize(storage.dtype) // size)


def _is_size(value):
    return type(value) is int and 0 <= value < 2**62

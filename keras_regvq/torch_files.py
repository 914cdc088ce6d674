"""Tensors from PyTorch's files, read by NumPy: no PyTorch is needed, and nothing in a file runs.

A `.ckpt`, `.pth` or `.bin` file is a pickle, which may name any function to be called. Here the
names are looked up in a short list: how tensors and dicts are rebuilt. Of training frameworks'
classes, which whole checkpoints hold besides, empty shells are made. Any other name is an error.
"""

import collections
import pickle
import zipfile

import numpy as np

from keras_regvq.validation import refuse

_DTYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
# Their objects are settings and counters of a training run: left as empty shells.
_IGNORED_PACKAGES = ("pytorch_lightning", "lightning", "omegaconf", "torch.optim")
# The first pickle of a file from before PyTorch 1.6 is this number.
_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_EXPECTED = "an intact checkpoint that PyTorch has written, of tensors and plain containers"


def read_torch_file(path):
    """Read a checkpoint: a zip file, or the sequence of pickles that PyTorch before 1.6 wrote.

    Args:
        path: the file.

    Returns:
        what was saved, tensors as NumPy arrays (bfloat16 as float32); usually a dict.

    Raises:
        ValueError: if it is damaged or of another format, or names anything but tensors and plain
            containers: nothing of it has run then.
    """
    try:
        with open(path, "rb") as file:
            if _OLD_MAGIC.to_bytes(10, "little") in file.read(16):
                file.seek(0)
                return _read_pickles(file)
        with zipfile.ZipFile(path) as archive:
            return _read_zip(archive)
    except Exception as error:  # a damaged file can fail anywhere inside zipfile and pickle
        reason = f"{type(error).__name__}: {error}"
        refuse("path", f"{str(path)!r}, which cannot be read ({reason})", _EXPECTED)


def _read_zip(archive):
    pickles = [n for n in archive.namelist() if n.endswith("/data.pkl") or n == "data.pkl"]
    if len(pickles) != 1:
        raise pickle.UnpicklingError("a zip file that PyTorch has not written")
    folder = pickles[0].removesuffix("data.pkl")
    with archive.open(pickles[0]) as file:
        return _Unpickler(file, lambda key: archive.read(f"{folder}data/{key}")).load()


def _read_pickles(file):
    """Three pickles of a header, what was saved, the storages' keys; then the storages."""
    _, _, system = [_Unpickler(file).load() for _ in range(3)]
    if not system["little_endian"]:
        raise pickle.UnpicklingError("of a big-endian machine")
    start = file.tell()
    finder = _StorageFinder(file)
    finder.load()
    storages = {}
    for key in _Unpickler(file).load():
        count = int.from_bytes(file.read(8), "little")
        storages[key] = file.read(count * _stored_as(finder.dtypes[key]).itemsize)
    file.seek(start)
    return _Unpickler(file, storages.__getitem__).load()


def _stored_as(dtype):
    return np.dtype("uint16" if dtype == "bfloat16" else dtype)


class _Unpickler(pickle.Unpickler):
    """Unpickles tensors and plain containers; `read(key)` gives the bytes of a storage."""

    def __init__(self, file, read=None):
        super().__init__(file)
        self.read = read

    def find_class(self, module, name):
        module = module.replace("__builtin__", "builtins")  # as PyTorch's protocol 2 has it
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if module.split(".")[0] in _IGNORED_PACKAGES or module.startswith("torch.optim."):
            return _Shell
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no tensor")

    def persistent_load(self, identifier):
        kind, dtype, key, _, count, *views = identifier
        if kind != "storage":
            raise pickle.UnpicklingError(f"it has a {kind!r} in the place of a storage")
        data, dtype_there = self.read(key), _stored_as(dtype)
        values = np.frombuffer(data, dtype_there, len(data) // dtype_there.itemsize)
        if len(values) < count:
            raise pickle.UnpicklingError("tensor data are missing")
        if dtype == "bfloat16":  # the upper half of a float32
            values = (values.astype("uint32") << 16).view("float32")
        for _, offset, length in filter(None, views):  # a part of a storage, in old files
            values = values[offset : offset + length]
        return values


class _StorageFinder(_Unpickler):
    """Notes the dtype of each storage, and builds no tensor."""

    def __init__(self, file):
        super().__init__(file)
        self.dtypes = {}

    def find_class(self, module, name):
        found = super().find_class(module, name)
        return _Shell if module == "torch._utils" else found

    def persistent_load(self, identifier):
        self.dtypes[identifier[2]] = identifier[1]
        return _Shell()


class _Shell:
    """Stands for an object that is not needed; it takes any arguments and state."""

    def __init__(self, *arguments, **options):
        pass

    def __setstate__(self, state):
        pass

    def __call__(self, *arguments, **options):
        return self


def _rebuild_tensor(storage, offset, size, stride, *unused):
    count = int(np.prod(size, dtype="int64"))
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and not 0 <= last < len(storage):
        raise pickle.UnpicklingError(f"a tensor of shape {tuple(size)} beyond its data")
    if not count:
        return np.empty(size, storage.dtype)
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()


def _rebuild_parameter(tensor, *unused):
    return tensor


_ALLOWED = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): collections.defaultdict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    ("builtins", "dict"): dict,
    ("builtins", "list"): list,
    ("builtins", "set"): set,
    ("numpy.core.multiarray", "scalar"): _Shell,
    ("numpy", "dtype"): _Shell,
}

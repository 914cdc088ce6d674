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


def read_torch_file(path):
    """Read a checkpoint of the format that PyTorch writes since 1.6 (a zip file).

    Args:
        path: the file.

    Returns:
        what was saved, tensors as NumPy arrays (bfloat16 as float32); usually a dict.

    Raises:
        ValueError: if it is damaged or of an older format, or names anything but tensors and
            plain containers: nothing of it has run then.
    """
    path = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [n for n in archive.namelist() if n.endswith("/data.pkl") or n == "data.pkl"]
            if len(pickles) != 1:
                refuse("path", f"{path!r}, a zip file that PyTorch has not written", _EXPECTED)
            folder = pickles[0].removesuffix("data.pkl")
            with archive.open(pickles[0]) as file:
                return _Unpickler(file, archive, folder, path).load()
    except (zipfile.BadZipFile, KeyError, EOFError, pickle.UnpicklingError, OSError) as error:
        refuse("path", f"{path!r}, which cannot be read ({error})", _EXPECTED)


_EXPECTED = "an intact checkpoint in PyTorch's zip format: save an older one again with torch.save"


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, archive, folder, path):
        super().__init__(file)
        self.archive, self.folder, self.path = archive, folder, path

    def find_class(self, module, name):
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if module.split(".")[0] in _IGNORED_PACKAGES or module.startswith("torch.optim."):
            return _Shell
        refuse("path", f"{self.path!r}, which names {module}.{name}", "tensors and dicts only")

    def persistent_load(self, identifier):
        kind, dtype, key, _, count = identifier
        if kind != "storage":
            refuse("path", f"{self.path!r}, with a {kind!r}", "tensors and dicts only")
        data = self.archive.read(f"{self.folder}data/{key}")
        values = np.frombuffer(data, "uint16" if dtype == "bfloat16" else dtype)
        if len(values) < count:
            refuse("path", f"{self.path!r}, of which tensor data are missing", _EXPECTED)
        if dtype == "bfloat16":  # the upper half of a float32
            values = (values.astype("uint32") << 16).view("float32")
        return values


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
        refuse("path", f"a tensor of shape {tuple(size)} beyond its data", _EXPECTED)
    if not count:
        return np.empty(size, storage.dtype)
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()


def _rebuild_parameter(tensor, *unused):
    return tensor


_ALLOWED = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): collections.defaultdict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    ("builtins", "dict"): dict,
    ("builtins", "list"): list,
    ("builtins", "set"): set,
    ("numpy.core.multiarray", "scalar"): _Shell,
    ("numpy", "dtype"): _Shell,
}

"""Tensors from PyTorch's files, read by NumPy: no PyTorch is needed, and nothing in a file runs.

A `.ckpt`, `.pth` or `.bin` file is a pickle, which may name any function to be called. It is
followed on descriptions alone (`inert_pickle`), and what those stand for is looked up in a short
list (`torch_values`). Sizes are checked against the file's own before anything is read or made.
"""

import io
import reprlib
import zipfile
from collections import Counter
from pickle import UnpicklingError

from keras_regvq.files.budget import Budget
from keras_regvq.files.inert_pickle import read_pickle
from keras_regvq.files.reading import file_size, reading
from keras_regvq.files.regular_files import open_regular
from keras_regvq.files.torch_tensors import Tensors, find_storage, itemsize
from keras_regvq.files.torch_values import plain_values

# The first pickle of a file from before PyTorch 1.6 is this number.
_OLD_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_ENCRYPTED = 1  # of a zip entry's flags
_EXPECTED = "an intact checkpoint that PyTorch has written, of tensors and plain containers"


def read_torch_file(path, argument="path"):
    """Read a checkpoint: a zip file, or the sequence of pickles that PyTorch before 1.6 wrote.

    A single pickle, of NumPy's arrays, is read, too.

    Args:
        path: the file.
        argument: the argument that named the file, for errors.

    Returns:
        what was saved, usually a dict: tensors as NumPy arrays that cannot be written to (bfloat16
        as float32), objects that are not needed as `torch_values.Shell`.

    Raises:
        ValueError: if it is damaged or of another format, promises more than it has, or names
            anything but tensors and plain containers: nothing of it has run then.
    """
    with reading(path, _EXPECTED, argument):
        with open_regular(path) as file:
            size = file_size(file)
            start = file.read(16)
            file.seek(0)
            if start[:1] != b"\x80" or len(start) < 2:  # the first instruction of a pickle
                with zipfile.ZipFile(file) as archive:
                    return _read_zip(archive, size)
            data = file.read(size)
        if _OLD_MAGIC in start:
            return _read_pickles(data)
        return _values(read_pickle(io.BytesIO(data))[0], {}.__getitem__, size)


def _values(tree, read, size):
    """`plain_values`, with a budget for what is copied, and one for the tensors."""
    return plain_values(tree, Tensors(read, Budget(size)), Budget(size))


def _read_zip(archive, size):
    names, budget = Counter(archive.namelist()), Budget(size)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise UnpicklingError(f"the zip file has {twice[0]!r:.80} twice")
    pickles = [name for name in names if name.endswith("/data.pkl") or name == "data.pkl"]
    if len(pickles) != 1:
        raise UnpicklingError("a zip file that PyTorch has not written")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in names:
        _check_order(_entry(archive, f"{folder}byteorder", budget) == b"little")
    data = {}

    def read(key):
        if key not in data:
            data[key] = _entry(archive, f"{folder}data/{key}", budget)
        return data[key]

    tree, _ = read_pickle(io.BytesIO(_entry(archive, pickles[0], budget)))
    return _values(tree, read, size)


def _entry(archive, name, budget):
    """The bytes of a zip file's entry."""
    if name not in archive.NameToInfo:
        raise UnpicklingError(f"tensor data are missing: {name!r:.80}")
    info = archive.getinfo(name)
    if info.flag_bits & _ENCRYPTED:
        raise UnpicklingError("it is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnpicklingError(f"it is compressed in a way that PyTorch does not know: {name!r:.80}")
    budget.take(info.file_size, f"{name!r:.80}")
    data = archive.read(info)
    if len(data) != info.file_size:
        raise UnpicklingError(f"{name!r:.80} ends too early")
    return data


def _check_order(little):
    if not little:
        raise UnpicklingError("of a big-endian machine")


def _read_pickles(data):
    """Three pickles of a header, what was saved, the storages' keys; then the storages."""
    file, sizes, storages = io.BytesIO(data), {}, {}
    _, _, system = [read_pickle(file)[0] for _ in range(3)]
    _check_order(_values(system, storages.__getitem__, len(data)).get("little_endian"))
    tree, persistent = read_pickle(file)
    for one in persistent:
        whole = find_storage(one.identifier[:5])
        sizes[whole.key] = whole
    for key in read_pickle(file)[0]:
        count = int.from_bytes(file.read(8), "little")
        known = isinstance(key, str) and key in sizes and key not in storages
        if not known or count != sizes[key].count:
            raise UnpicklingError(f"its storage {reprlib.repr(key)} does not fit its tensors")
        length = count * itemsize(sizes[key].dtype)
        if length > len(data) - file.tell():
            raise UnpicklingError("tensor data are missing")
        storages[key] = file.read(length)
    return _values(tree, storages.__getitem__, len(data))

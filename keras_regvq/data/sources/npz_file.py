"""Reading .npz files whose headers are not believed: sizes are checked before anything is read."""

import math
import zipfile

import numpy as np

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.regular_files import open_regular, shown_name

# Nothing that takes less memory is a bomb, and nothing of data is packed so much more tightly.
_HARMLESS, _MOST_PACKING = 2**28, 200


class NpzFile:
    """The arrays of an .npz file, by name; a context manager.

    Attributes:
        path: of the file.
        names: a set of the names of its arrays.

    Raises:
        ValueError: naming the file, if it is no archive of arrays; also from `read`.
    """

    def __init__(self, path):
        self.path = path
        try:
            self._file = open_regular(path)
        except OSError as error:
            self._refuse(error)

    def __enter__(self):
        try:
            self._archive = zipfile.ZipFile(self._file)
        except Exception as error:  # whatever zipfile raises on a damaged archive
            self._file.close()
            self._refuse(error)
        members = self._archive.namelist()
        self.names = {name.removesuffix(".npy") for name in members if name.endswith(".npy")}
        return self

    def __exit__(self, *_):
        self._archive.close()
        self._file.close()

    def read(self, names):
        """Returns a dict of arrays of numbers or strings; never of Python objects."""
        try:
            infos = {name: self._archive.getinfo(f"{name}.npy") for name in names}
            size = sum(info.file_size for info in infos.values())
            packed = sum(info.compress_size for info in infos.values())
            if size > max(_HARMLESS, _MOST_PACKING * packed):
                raise ValueError(f"its arrays expand from {packed} to {size} bytes")
            return {name: self._read_array(info) for name, info in infos.items()}
        except Exception as error:  # whatever zipfile, zlib or NumPy raise on a damaged file
            self._refuse(error)

    def _read_array(self, info):
        with self._archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read_header is None:
                raise ValueError(f"{info.filename} is of version {version}")
            shape, _, dtype = read_header(member)
            if dtype.hasobject:
                raise ValueError(f"{info.filename} holds pickled objects, which are not read")
            held = info.file_size - member.tell()
            if math.prod(shape) * dtype.itemsize != held:
                raise ValueError(f"{info.filename} of shape {shape} has {held} bytes of {dtype}")
        with self._archive.open(info) as member:
            return np.lib.format.read_array(member, allow_pickle=False)

    def _refuse(self, error):
        received = f"{shown_name(self.path)} ({str(error) or type(error).__name__})"
        refuse("source", received, "the path of an .npz file of numbers and unicode strings")

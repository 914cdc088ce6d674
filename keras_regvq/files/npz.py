"""Arrays in one .npz file: written whole, and read only if every byte is as it was written."""

import struct
import zipfile
import zlib

import numpy as np

from keras_regvq.files.replacing import replacing

_DAMAGES = (
    *(ValueError, EOFError, KeyError, TypeError, NotImplementedError, MemoryError, SyntaxError),
    *(RuntimeError, OSError, struct.error, zipfile.BadZipFile, zlib.error),
)


def write_npz(path, arrays, compress=False):
    """Replace the file at `path` by one of these arrays, a dict.

    Raises:
        OSError: naming `path`, such as for a full disk. What was there stays.
    """
    with replacing(path) as part, open(part, "wb") as file:
        (np.savez_compressed if compress else np.savez)(file, **arrays)


def read_npz(path):
    """The dict of arrays in a file; a zip archive, so that a checksum guards each of them.

    Raises:
        OSError: if there is no file, or it cannot be read.
        ValueError: naming the file if it is damaged, or none that `write_npz` wrote.
    """
    with open(path, "rb") as file:
        try:
            archive = zipfile.ZipFile(file)
            names = archive.namelist()
            return {name.removesuffix(".npy"): _member(archive, name) for name in names}
        except _DAMAGES as error:
            raise ValueError(f"{path} is damaged: {error or type(error).__name__}") from error


def _member(archive, name):
    with archive.open(name) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):  # at the end the checksum is compared
            raise ValueError(f"{name} is longer than its array")
        return array

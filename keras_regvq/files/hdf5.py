"""The one way this package reads an HDF5 file: it is checked as a whole before a value is read.

HDF5 has links into other files, data kept in other files, plugins, and a few bytes that stand for
gigabytes. None of them belongs in a file of weights.
"""

import contextlib
import math
import os
import stat

import h5py

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.reading import names_file

# Of a compressed file: how many times its own size its values may take.
MAX_EXPANSION = 64
_MAX_DEPTH, _MAX_OBJECTS = 64, 200_000
_FILTERS = {
    h5py.h5z.FILTER_DEFLATE: "gzip",
    h5py.h5z.FILTER_SHUFFLE: "shuffle",
    h5py.h5z.FILTER_FLETCHER32: "fletcher32",
    h5py.h5z.FILTER_LZF: "lzf",
}
_EXPECTED = "an intact HDF5 file of numbers, all of which it holds itself"


class UnsafeHdf5(ValueError):
    """What is in an HDF5 file that no file of weights has."""


@contextlib.contextmanager
def open_hdf5(path, argument="weights"):
    """Open a checked file.

    Args:
        path: of a regular file.
        argument: how to call it in the error.

    Returns:
        a context manager that gives the h5py.File and {name: h5py.Dataset} of all its data sets,
        which are numbers (bfloat16 as two opaque bytes).

    Raises:
        ValueError: naming the file, if it is damaged, and for links, external or virtual data,
            values that are not numbers, unknown filters, and more values than a file of its size
            can hold. Errors of the body count as damage, too, unless they are ValueErrors that
            name the file.
        OSError: naming the file, if it cannot be opened.
    """
    path = os.fspath(path)
    if not stat.S_ISREG(os.stat(path).st_mode):
        refuse(argument, f"{path!r}, which is no regular file", _EXPECTED)
    with open(path, "rb") as file:  # a file that may not be read is an OSError with its name
        size = os.fstat(file.fileno()).st_size
    try:
        with h5py.File(path, "r") as file:
            datasets = {}
            _collect(file, "", datasets, {_address(file)})
            _check_sizes(datasets, size)
            yield file, datasets
    except Exception as error:  # a damaged file can fail anywhere inside HDF5
        if isinstance(error, (ValueError, ImportError)) and names_file(error, path):
            raise
        reason = str(error) if isinstance(error, UnsafeHdf5) else f"{type(error).__name__}: {error}"
        refuse(argument, f"the file {path!r}, whose weights cannot be read ({reason})", _EXPECTED)


def _collect(group, prefix, datasets, seen):
    """Add the data sets of a group and of all that is in it."""
    if prefix.count("/") > _MAX_DEPTH:
        raise UnsafeHdf5(f"groups nested more than {_MAX_DEPTH} deep")
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise UnsafeHdf5(f"{prefix}{name} is a {type(link).__name__}")
        item = group[name]
        address = _address(item)
        if address in seen or len(seen) > _MAX_OBJECTS:
            raise UnsafeHdf5(f"{prefix}{name} is there twice, or one of too many")
        seen.add(address)
        if isinstance(item, h5py.Group):
            _collect(item, f"{prefix}{name}/", datasets, seen)
        elif isinstance(item, h5py.Dataset):
            _check_dataset(prefix + name, item)
            datasets[prefix + name] = item
        else:
            raise UnsafeHdf5(f"{prefix}{name} is a {type(item).__name__}")


def _address(item):
    return h5py.h5o.get_info(item.id).addr


def _check_dataset(name, dataset):
    dtype = dataset.dtype
    opaque = dtype.kind == "V" and dtype.fields is None and dtype.subdtype is None
    if not (dtype.kind in "fiub" or opaque and dtype.itemsize <= 2):
        raise UnsafeHdf5(f"{name} has values of the type {dtype}")
    if dataset.shape is None:
        raise UnsafeHdf5(f"{name} is empty")
    if dataset.is_virtual or dataset.external:
        raise UnsafeHdf5(f"{name} has its values in other files")
    creation = dataset.id.get_create_plist()
    for index in range(creation.get_nfilters()):
        if creation.get_filter(index)[0] not in _FILTERS:
            raise UnsafeHdf5(f"{name} is packed by filter {creation.get_filter(index)[0]}")


def _check_sizes(datasets, size):
    """Refuse data sets that overlap, are not there, or unpack to far more than the file."""
    stored = unpacked = 0
    for name, dataset in datasets.items():
        values = math.prod(dataset.shape) * dataset.dtype.itemsize
        kept = dataset.id.get_storage_size()
        packed = dataset.id.get_create_plist().get_nfilters() > 0
        if values > kept and (not packed or kept == 0):
            raise UnsafeHdf5(f"{name} is {values} bytes of which the file has {kept}")
        if dataset.chunks and math.prod(dataset.chunks) * dataset.dtype.itemsize > max(
            MAX_EXPANSION * size, 2**20
        ):
            raise UnsafeHdf5(f"{name} has chunks of {dataset.chunks}")
        stored, unpacked = stored + kept, unpacked + values
    if stored > size or unpacked > MAX_EXPANSION * size:
        raise UnsafeHdf5(f"{unpacked} bytes of values, {stored} of them as stored, in {size} bytes")


def read_arrays(path, wanted, argument="weights"):
    """{name: array} of those of the `wanted` data sets that a file has."""
    with open_hdf5(path, argument) as (_, datasets):
        return {name: datasets[name][()] for name in wanted if name in datasets}


def read_legacy_keras(path, wanted, argument="weights"):
    """{"LAYER/kernel" or "LAYER/bias": array} of a file of Keras 2, of weights or a whole model."""
    tensors = {}
    with open_hdf5(path, argument) as (file, datasets):
        prefix = "model_weights/" if "model_weights" in file else ""
        for layer in {name.split("/")[0] for name in wanted}:
            if f"{prefix}{layer}" not in file:
                continue
            # The names inside differ between Keras versions; their order does not.
            weight_names = file[f"{prefix}{layer}"].attrs.get("weight_names", ())
            for kind, weight_name in zip(("kernel", "bias"), weight_names, strict=False):
                name = weight_name.decode() if isinstance(weight_name, bytes) else weight_name
                tensors[f"{layer}/{kind}"] = datasets[f"{prefix}{layer}/{name}"][()]
    return tensors

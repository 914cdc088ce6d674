"""Tensors of networks of other projects, read from a file and checked one by one."""

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.finite import is_finite
from keras_regvq.files.reading import reading
from keras_regvq.files.torch_pickle import read_torch_file


def read_torch(path, wanted, argument="weights"):
    """{name: float32 array} of those of the `wanted` tensors that a .pth file has."""
    tensors = read_torch_file(path, argument)
    return {name: tensors[name].astype("float32") for name in wanted if name in tensors}


def read_intact(read, path, wanted, suffix, argument="weights"):
    """{name: array} of the `wanted` tensors of a file, by `read(path, wanted, argument)`."""
    with reading(path, f"an intact file of tensors, as {suffix} files are", argument):
        return read(path, wanted, argument)


def checked_tensor(tensors, name, shape, path, network, argument="weights"):
    """The tensor of a name, float32; refuses a file without it, or one of another shape."""
    shape = tuple(map(int, shape))
    expected = f"a file of {network}, where {name!r} has shape {shape}"
    if name not in tensors:
        refuse(argument, f"the file {path!r} without the tensor {name!r}", expected)
    if tensors[name].shape != shape:
        received = f"the file {path!r} with {name!r} of shape {tensors[name].shape}"
        refuse(argument, received, expected)
    if not is_finite(tensors[name]):
        refuse(argument, f"the file {path!r}, where {name!r} is not finite", "finite weights")
    return tensors[name].astype("float32")

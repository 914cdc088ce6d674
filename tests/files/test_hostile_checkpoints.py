"""Checkpoints that lie about sizes and places, or try to change what reads them, are refused."""

import collections
import os
import resource
import time
import zipfile

import numpy as np
import pytest

from keras_regvq.files import torch_pickle, torch_values
from keras_regvq.files.torch_pickle import read_torch_file
from tests.files.hand_made_pickles import (
    BUILD,
    EMPTY_TUPLE,
    NONE,
    REDUCE,
    dictionary,
    entry,
    get,
    integer,
    name,
    put,
    several,
    storage,
    tensor,
    text,
    write,
)


def refused(path, match):
    """Read a file that must be refused, in little time and memory."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ValueError, match=f"(?s){path.name}.*{match}"):
        read_torch_file(path)
    assert time.monotonic() - started < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # kB


@pytest.mark.parametrize(
    "size, stride, offset, expected",
    [
        ((2, 2), (2, 1), 0, [[0, 1], [2, 3]]),
        ((2, 2), (1, 2), 0, [[0, 2], [1, 3]]),
        ((3,), (0,), 2, [2, 2, 2]),
        ((2,), (-2,), 3, [3, 1]),
        ((2, 2), (-1, 2), 1, [[1, 3], [0, 2]]),
        ((), (), 3, 3),
        ((0, 5), (5, 1), 4, np.zeros((0, 5))),
    ],
)
def test_any_layout_inside_the_storage_is_read(tmp_path, size, stride, offset, expected):
    path = write(tmp_path / "a.ckpt", dictionary(entry("w", tensor(size, stride, offset))))
    np.testing.assert_array_equal(read_torch_file(path)["w"], expected)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "size, stride, offset, named",
    [
        ((2, 2), (-(10**9), 10**9 + 1), 0, "beyond its data"),  # the last element is inside
        ((2, 2), (-3, 4), 0, "beyond its data"),
        ((2,), (-1,), 0, "beyond its data"),
        ((5,), (1,), 0, "beyond its data"),
        ((1,), (1,), 4, "beyond its data"),
        ((1,), (1,), -1, "sides"),
        ((-1,), (1,), 0, "sides"),
        ((2**62,), (0,), 0, "sides"),
        ((10**6, 10**6), (0, 0), 0, "far more than the file has"),
        ((10**7,), (0,), 0, "far more than the file has"),
        ((2, 2), (1,), 0, "2 sides and 1 strides"),
        ((1,) * 65, (1,) * 65, 0, "65 sides"),
    ],
)
def test_tensors_outside_their_storage_or_of_no_size(tmp_path, size, stride, offset, named, old):
    pickle = dictionary(entry("w", tensor(size, stride, offset)))
    if old:
        path = tmp_path / "old.ckpt"
        header = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
        header += dictionary(entry("little_endian", b"\x88"))
        data = (4).to_bytes(8, "little") + np.arange(4, dtype="float32").tobytes()
        path.write_bytes(header + pickle + b"\x80\x02]" + text("0") + b"a." + data)
    else:
        path = write(tmp_path / "new.ckpt", pickle)
    refused(path, named)


@pytest.mark.parametrize(
    "size, named",
    [
        (b"G\x7f\xf8" + bytes(6), "sides"),  # NaN
        (text("many"), "sides"),
        (NONE, "sides"),
        (b"\x88", "sides"),  # True
        (b"\x8a\xff" + b"\x7f" * 255, "sides"),
    ],
)
def test_sizes_that_are_no_integers(tmp_path, size, named):
    arguments = several(storage(), integer(0), several(size), several(integer(1)), b"\x89", NONE)
    pickle = name("torch._utils", "_rebuild_tensor_v2") + arguments + REDUCE
    refused(write(tmp_path / "a.ckpt", dictionary(entry("w", pickle))), named)


@pytest.mark.parametrize(
    "bad, named",
    [
        (storage(count=5), "data are missing"),
        (storage(count=-1), "place of a storage"),
        (storage(key="1"), "data are missing"),
        (storage(kind="QInt8Storage"), "NumPy does not know"),
        (storage(kind="DoubleStorage"), "data are missing"),
        (several(text("storage")) + b"Q", "no storage"),
        (text("0"), "without a storage"),
    ],
)
def test_storages_that_are_not_there(tmp_path, bad, named):
    pickle = dictionary(entry("w", tensor((1,), (1,), source=bad)))
    refused(write(tmp_path / "a.ckpt", pickle), named)


def test_one_storage_under_many_names_is_in_memory_once(tmp_path):
    data = {"0": bytes(4 * 10**6)}
    many = [entry(f"w{i}", tensor((10**6,), (1,), source=storage(10**6))) for i in range(2000)]
    found = read_torch_file(write(tmp_path / "a.ckpt", dictionary(*many), data))
    assert len(found) == 2000 and np.shares_memory(found["w0"], found["w1999"])
    views = [entry(f"w{i}", tensor((10**6 - i,), (1,), i, storage(10**6))) for i in range(2000)]
    refused(write(tmp_path / "b.ckpt", dictionary(*views), data), "far more than the file has")


@pytest.mark.parametrize("old", [False, True])
def test_no_instruction_changes_a_function_or_class_of_the_process(tmp_path, old):
    targets = {
        ("torch._utils", "_rebuild_tensor_v2"): torch_values._tensor,
        ("torch._utils", "_rebuild_parameter"): torch_values._first,
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("argparse", "Namespace"): torch_values.Shell,
        ("keras_regvq.files.torch_pickle", "read_torch_file"): torch_pickle.read_torch_file,
    }
    state = several(
        b"}" + entry("__doc__", text("changed")) + entry("marked", integer(1)),
        b"}" + entry("__defaults__", several(integer(1))) + entry("__doc__", text("changed")),
    )
    for (module, function), target in targets.items():
        before = target.__doc__, getattr(target, "__defaults__", None), dir(target)
        for change in (
            state + BUILD, entry("marked", integer(1)), integer(1) + b"a",
            b"(" + integer(1) + b"e", b"(" + integer(1) + b"\x90",
        ):  # fmt: skip
            pickle = dictionary(entry("w", name(module, function) + change))
            path = tmp_path / "a.ckpt"
            path.write_bytes(pickle) if old else write(path, pickle)
            refused(path, "cannot be changed")
        assert before == (target.__doc__, getattr(target, "__defaults__", None), dir(target))


@pytest.mark.parametrize(
    "module, function",
    [
        ("os", "system"), ("posix", "system"), ("builtins", "eval"), ("__builtin__", "getattr"),
        ("subprocess", "Popen"), ("torch", "load"), ("torch.hub", "load"), ("numpy", "load"),
        ("keras_regvq", "from_preset"), ("keras_regvq.files.torch_values", "Shell"),
        ("functools", "partial"), ("operator", "attrgetter"), ("some_package", "function"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"), ("builtins", "bytearray"),
    ],
)  # fmt: skip
def test_other_functions_are_refused_by_name(tmp_path, module, function):
    known = f"{module}.{function}".replace("__builtin__", "builtins")
    for call in (several(text("echo")) + REDUCE, several(integer(10**15)) + REDUCE):
        pickle = dictionary(entry("w", name(module, function) + call))
        refused(write(tmp_path / "a.ckpt", pickle), f"names {known}")
    by_inst = dictionary(entry("w", b"(" + text("echo") + b"i" + name(module, function)[1:]))
    refused(write(tmp_path / "b.ckpt", by_inst), f"names {known}")


def nested(depth, step=b"\x85"):
    return EMPTY_TUPLE + step * depth


@pytest.mark.parametrize(
    "value",
    [
        nested(300_000),  # as a value
        b"}" + nested(300_000) + b"Ns",  # as a key, whose hash would end the process
        b"\x8f(" + nested(300_000) + b"\x90",
        b"}" + nested(60, b"2\x86") + b"Ns",  # as a key of 2^60 parts
        name("torch", "Size") + several(nested(60, b"2\x86")) + REDUCE,
        b"]" + b"2a" * 1,  # a list in itself
    ],
)
def test_nested_values_are_read_or_refused_in_no_time(tmp_path, value):
    path = write(tmp_path / "a.ckpt", dictionary(entry("w", value), entry("v", integer(3))))
    started = time.monotonic()
    try:
        assert read_torch_file(path)["v"] == 3
    except ValueError as error:
        assert "a.ckpt" in str(error)
    assert time.monotonic() - started < 20


def test_a_container_copied_many_times_is_refused(tmp_path):
    values = b"](" + integer(1) * 10**5 + b"e" + put(0)
    copies = name("builtins", "list") + several(get(0)) + REDUCE
    pickle = dictionary(entry("w", values), entry("v", b"](" + copies * 10**4 + b"e"))
    refused(write(tmp_path / "a.ckpt", pickle), "far more than the file has")


def test_zeros_that_were_compressed_and_other_zip_files(tmp_path):
    weights = dictionary(entry("w", tensor((1,), (1,))))
    deflated = {"compression": zipfile.ZIP_DEFLATED}
    zeros = dictionary(entry("w", tensor((2 * 10**7,), (1,), source=storage(2 * 10**7))))
    path = write(tmp_path / "zeros.ckpt", zeros, {"0": bytes(8 * 10**7)}, **deflated)
    assert path.stat().st_size < 10**6
    refused(path, "far more than the file has")
    small = write(tmp_path / "small.ckpt", weights, **deflated)
    assert read_torch_file(small)["w"] == [0]
    refused(write(tmp_path / "a.ckpt", weights, compression=zipfile.ZIP_BZIP2), "compressed")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(small, "a") as archive:
        archive.writestr("a/data/0", b"\x00\x00\x80\x3f" * 4)
    refused(small, "twice")
    encrypted = write(tmp_path / "encrypted.ckpt", weights)
    data = bytearray(encrypted.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    encrypted.write_bytes(data)
    refused(encrypted, "encrypted")


def test_a_folder_a_pipe_and_a_device_are_no_checkpoints(tmp_path):
    (tmp_path / "folder.ckpt").mkdir()
    refused(tmp_path / "folder.ckpt", "a folder")
    os.mkfifo(tmp_path / "pipe.ckpt")
    refused(tmp_path / "pipe.ckpt", "a pipe")
    with pytest.raises(ValueError, match="/dev/zero.*a device"):
        read_torch_file("/dev/zero")

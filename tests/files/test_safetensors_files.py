"""Files in the safetensors format, against the package of its makers."""

import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from keras_regvq.files.safetensors_files import read_safetensors, write_safetensors


def write(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def tensor(shape=(2,), start=0, end=8, dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def test_every_dtype_is_read_as_the_package_wrote_it(tmp_path):
    tensors = {
        "floats": torch.randn(3, 4), "half": torch.randn(5).half(),
        "double": torch.randn(2).double(),
        "brain": torch.randn(2, 3).bfloat16(), "flags": torch.tensor([True, False]),
        "integers": torch.arange(3), "bytes": torch.arange(3).to(torch.uint8),
        "empty": torch.zeros(0, 3), "scalar": torch.tensor(2.5),
        "float8": torch.zeros(3).to(torch.float8_e4m3fn),
    }  # fmt: skip
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors", {"format": "pt"})
    found = read_safetensors(tmp_path / "a.safetensors")
    assert set(found) == set(tensors) - {"float8"}  # which NumPy does not have
    for name, array in found.items():
        expected = tensors[name].float() if name == "brain" else tensors[name]
        np.testing.assert_array_equal(array, expected.numpy())
        assert array.dtype == expected.numpy().dtype
    assert list(read_safetensors(tmp_path / "a.safetensors", {"half", "other"})) == ["half"]


def test_the_package_reads_what_is_written(tmp_path):
    tensors = {
        "a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.zeros((0, 2), "float16"),
        "c": np.arange(6, dtype="int64").reshape(2, 3).T, "d": np.ones(3, ">f4"),
    }  # fmt: skip
    write_safetensors(tensors, tmp_path / "a.safetensors")
    found = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    assert list(found) == list(tensors)
    for name, array in found.items():
        np.testing.assert_array_equal(array, tensors[name])
    write_safetensors({"w": np.ones(3, ml_dtypes.bfloat16)}, tmp_path / "b.safetensors")
    assert safetensors.torch.load_file(tmp_path / "b.safetensors")["w"].dtype == torch.bfloat16
    with pytest.raises(ValueError, match="w of dtype object"):
        write_safetensors({"w": np.array([None])}, tmp_path / "c.safetensors")
    assert not (tmp_path / "c.safetensors").exists()


@pytest.mark.parametrize(
    "header, data, length",
    [
        ({}, b"", 2**63), ({}, b"", 2**40), ({}, b"", 0), ({}, b"", 100), (b"[]", b"", None),
        (b"{", b"", None), (b"[" * 10**5, b"", None), (b"\xff{}", b"", None),
        (b'{"a": 1, "a": 2}', b"", None), ({"a": 3}, b"", None), ({"a": {}}, b"", None),
        ({"a": tensor()}, b"1234", None), ({"a": tensor()}, b"1" * 9, None),
        ({"a": tensor(start=-8, end=0)}, b"", None), ({"a": tensor((2**61,))}, b"1" * 8, None),
        ({"a": tensor((2.0,))}, b"1" * 8, None), ({"a": tensor((True, 2))}, b"1" * 8, None),
        ({"a": tensor((-1, -2))}, b"1" * 8, None), ({"a": tensor(dtype="F16")}, b"1" * 8, None),
        ({"a": tensor(dtype=None)}, b"1" * 8, None), ({"a": tensor("2")}, b"1" * 8, None),
        ({"a": tensor(), "b": tensor()}, b"1" * 8, None),
        ({"a": tensor(), "b": tensor((1,), 4, 8)}, b"1" * 8, None),
        ({"a": tensor(), "b": tensor(start=9, end=17)}, b"1" * 17, None),
        ({"a": tensor((1,) * 65, 0, 4)}, b"1234", None),
    ],
)  # fmt: skip
def test_headers_that_do_not_fit_the_file_are_refused(tmp_path, header, data, length):
    path = write(tmp_path / "bad.safetensors", header, data, length)
    with pytest.raises(ValueError, match="Argument `preset`.*bad.safetensors"):
        read_safetensors(path, argument="preset")


def test_what_is_no_file_is_named(tmp_path):
    for name in ("folder", "missing"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(ValueError, match=name):
            read_safetensors(tmp_path / name)

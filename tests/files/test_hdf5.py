"""HDF5 files that hold more than their own numbers are refused before a value is read."""

import os
import shutil
import signal

import h5py
import numpy as np
import pytest

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.hdf5 import open_hdf5
from keras_regvq.files.reading import reading

VALUES = np.arange(6, dtype="float32").reshape(2, 3)


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["layer/vars/0"] = VALUES
        file["half"] = VALUES.astype("float16")
        file.create_dataset("packed", data=np.tile(VALUES, (50, 50)), compression="gzip")
    return tmp_path / "a.h5"


def test_a_whole_file_gives_its_numbers(path):
    with open_hdf5(path) as (_, datasets):
        assert set(datasets) == {"layer/vars/0", "half", "packed"}
        np.testing.assert_array_equal(datasets["layer/vars/0"][()], VALUES)
        np.testing.assert_array_equal(datasets["packed"][()], np.tile(VALUES, (50, 50)))


def test_an_error_that_quotes_a_path_with_backslashes_stays_as_it_is(path):
    there = str(path.rename(path.with_name("a\\b.h5")))
    with pytest.raises(ValueError) as error, open_hdf5(there):
        refuse("weights", f"the file {there!r} of another network", "this network's")
    assert str(error.value).startswith("Argument `weights` is wrong. Received: the file ")
    assert "cannot be read" not in str(error.value)


@pytest.mark.parametrize("shown", [str, repr])
def test_a_refusal_that_names_a_path_with_backslashes_is_not_wrapped(shown):
    there = "C:\\runs\\a.h5"
    with pytest.raises(ValueError) as error, reading(there, "a file", "path"):
        refuse("weights", f"{shown(there)} of another network", "this network's")
    assert "cannot be read" not in str(error.value)


def elsewhere(file):
    with h5py.File(file.filename.replace("a.h5", "b.h5"), "w") as other:
        other["x"] = VALUES


def virtual(file):
    elsewhere(file)
    layout = h5py.VirtualLayout(shape=(2, 3), dtype="f4")
    layout[:] = h5py.VirtualSource("b.h5", "x", shape=(2, 3))
    file.create_virtual_dataset("v", layout)


def external_link(file):
    elsewhere(file)
    file["v"] = h5py.ExternalLink("b.h5", "x")


def deep(file):
    for _ in range(100):
        file = file.create_group("d")


HOSTILE = {
    "a soft link": lambda file: file.__setitem__("v", h5py.SoftLink("half")),
    "an external link": external_link,
    "external storage": lambda file: file.create_dataset(
        "v", (4,), "u1", external=[("/etc/hostname", 0, 4)]
    ),
    "a virtual data set": virtual,
    "a cycle": lambda file: file["layer"].__setitem__("again", file["/"]),
    "deep groups": deep,
    "strings": lambda file: file.create_dataset("v", data=np.array(["a"], "S5")),
    "objects": lambda file: file.create_dataset("v", data=["a"], dtype=h5py.string_dtype()),
    "lists": lambda file: file.create_dataset("v", (3,), h5py.vlen_dtype("f4")),
    "references": lambda file: file.create_dataset("v", (3,), h5py.ref_dtype),
    "records": lambda file: file.create_dataset("v", (3,), [("a", "f4")]),
    "complex numbers": lambda file: file.create_dataset("v", data=VALUES * 1j),
    "a type": lambda file: file.__setitem__("v", np.dtype("f4")),
    "nothing": lambda file: file.create_dataset("v", data=h5py.Empty("f4")),
    "a bomb": lambda file: file.create_dataset(
        "v", (2**20, 2**14), "f4", compression="gzip", chunks=(2**10, 2**10)
    ),
    "what is not there": lambda file: file.create_dataset("v", (2**20, 2**14), "f4"),
    "packed numbers that are not there": lambda file: file.create_dataset(
        "v", (2, 3), "f4", compression="gzip"
    ),
    "another filter": lambda file: file.create_dataset("v", data=VALUES, scaleoffset=3),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_no_file_of_weights_has_is_refused(path, kind):
    with h5py.File(path, "r+") as file:
        HOSTILE[kind](file)
    with pytest.raises(ValueError, match="`weights`.*a.h5.*cannot be read"), open_hdf5(path):
        pass


def test_damage_anywhere_is_a_value_error_that_names_the_file(path):
    whole = path.read_bytes()
    for data in (b"", b"no HDF5", whole[: len(whole) // 2], b"\x89HDF\r\n\x1a\n" + b"\0" * 500):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="a.h5"), open_hdf5(path):
            pass


def test_what_goes_wrong_while_it_is_read_names_the_file_and_the_argument(path):
    with pytest.raises(ValueError, match="`preset`.*a.h5.*KeyError"):
        with open_hdf5(path, "preset") as (_, datasets):
            datasets["none"]


def test_only_regular_files_are_opened(path, tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    signal.alarm(20)  # a pipe would be waited for
    for name in ("pipe.h5", "."):
        with pytest.raises(ValueError, match="no regular file"), open_hdf5(tmp_path / name):
            pass
    signal.alarm(0)
    with pytest.raises(FileNotFoundError, match="none.h5"), open_hdf5(tmp_path / "none.h5"):
        pass
    shutil.copy(path, tmp_path / "b.h5")
    (tmp_path / "link.h5").symlink_to("b.h5")
    with open_hdf5(tmp_path / "link.h5") as (_, datasets):
        assert "half" in datasets

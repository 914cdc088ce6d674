""".npz files that are damaged, or say that they hold more than they do."""

import io
import os
import zipfile

import numpy as np
import pytest

from keras_regvq.data import load
from keras_regvq.data.sources.npz_file import NpzFile

IMAGES = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3), np.uint8)


def refused(path, match):
    with pytest.raises(ValueError, match=match) as caught:
        load(f"npz:{path}", "all", 8)
    assert path.name in str(caught.value)


def npy_header(shape, descr="|u1"):
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def write_member(path, data):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", data)


def test_arrays_are_read_with_their_names(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", images=IMAGES, other=np.arange(3))
    with NpzFile(tmp_path / "a.npz") as file:
        assert file.names == {"images", "other"}
        np.testing.assert_array_equal(file.read(["images"])["images"], IMAGES)


def test_zipped_zeros_of_gigabytes_are_not_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("images.npy", "w", force_zip64=True) as member:
            member.write(npy_header((100, 2000, 1000, 3)))
            for _ in range(600):
                member.write(bytes(10**6))
    refused(path, "expand from .* to 600000128 bytes")


def test_a_header_that_says_more_than_there_is_allocates_nothing(tmp_path):
    for shape in ((10**12, 64, 64, 3), (4, 8, 8, 4), (-1, 8, 8, 3)):
        write_member(tmp_path / "a.npz", npy_header(shape) + bytes(4 * 8 * 8 * 3))
        refused(tmp_path / "a.npz", "of shape|shape")


def test_objects_and_damaged_headers_are_refused_by_name(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, images=np.array([{}, []], object))
    refused(path, "pickled objects")
    for data in (b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00", npy_header((4,), "|V3")[:40]):
        write_member(path, data)
        refused(path, "`source`")


def test_damaged_archives_are_refused_by_name(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=IMAGES)
    whole = path.read_bytes()
    for position in range(0, len(whole), 37):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x5A]) + whole[position + 1 :])
        try:
            load(f"npz:{path}", "all", 8)
        except ValueError as error:
            assert "a.npz" in str(error)
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        refused(path, "`source`")


def test_a_pipe_and_a_folder_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "folder.npz").mkdir()
    for name in ("pipe.npz", "folder.npz", "nothing.npz"):
        refused(tmp_path / name, "`source`")


def test_an_array_that_does_not_fit_is_named_with_its_file(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES.astype(float) * 300)
    refused(tmp_path / "a.npz", "`images`.*floats from")

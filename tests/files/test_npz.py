import numpy as np
import pytest

from keras_regvq.files.npz import read_npz, write_npz

ARRAYS = {"weights": np.arange(1000.0), "state": np.array([1, 2], "uint32")}


@pytest.mark.parametrize("compress", [False, True])
def test_arrays_come_back_as_they_were(tmp_path, compress):
    write_npz(tmp_path / "arrays.npz", ARRAYS, compress)
    read = read_npz(tmp_path / "arrays.npz")
    assert list(read) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_every_damage_is_a_value_error_that_names_the_file(tmp_path):
    path = tmp_path / "arrays.npz"
    write_npz(path, ARRAYS)
    whole = path.read_bytes()
    damages = [b"", b"no archive", whole[: len(whole) // 2], whole[:-1], b"x" + whole[9:]]
    for place in (100, 300, 4000):  # a header and two numbers
        damages.append(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
    for data in damages:
        path.write_bytes(data)
        with pytest.raises(ValueError, match="arrays.npz is damaged"):
            read_npz(path)


def test_objects_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "objects.npz", objects=np.array([{}], object))
    with pytest.raises(ValueError, match="objects.npz"):
        read_npz(tmp_path / "objects.npz")


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "arrays.npz"
    write_npz(path, ARRAYS)

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="arrays.npz") as caught:
        write_npz(path, {})
    assert caught.value.errno == 28
    assert list(read_npz(path)) == list(ARRAYS) and len(list(tmp_path.iterdir())) == 1

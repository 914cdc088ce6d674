"""PyTorch's files are read without PyTorch, and never executed."""

import collections
import os
import pickle
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest
import torch

from keras_regvq.files.torch_pickle import read_torch_file


def save(value, path, old=False):
    torch.save(value, path, _use_new_zipfile_serialization=not old)
    return path


@pytest.mark.parametrize("old", [False, True])
def test_tensors_of_every_kind_and_layout_are_those_that_torch_saved(tmp_path, old):
    torch.manual_seed(0)
    base = torch.randn(4, 6)
    state = collections.OrderedDict(
        plain=base,
        transposed=base.T,
        part=base[1:3, ::2],
        scalar=torch.tensor(3.5),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(base * 2),
        half=base.half(),
        double=base.double(),
        bfloat=base.bfloat16(),
        integers=torch.arange(5),
        flags=torch.tensor([True, False]),
    )
    value = {"state_dict": state, "epoch": 7, "name": "x", "list": [1, 2.5]}
    path = save(value, tmp_path / "a.ckpt", old)
    found = read_torch_file(path)
    assert found["epoch"] == 7 and found["list"] == [1, 2.5] and found["name"] == "x"
    assert list(found["state_dict"]) == list(state)
    for name, tensor in state.items():
        expected = tensor.detach()
        expected = expected.float() if name == "bfloat" else expected
        np.testing.assert_array_equal(found["state_dict"][name], expected.numpy())
        assert found["state_dict"][name].dtype == expected.numpy().dtype


def test_it_needs_no_torch(tmp_path):
    path = save({"weight": torch.ones(2)}, tmp_path / "a.pth")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from keras_regvq.files.torch_pickle import read_torch_file\n"
        f"assert read_torch_file({str(path)!r})['weight'].sum() == 2"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


class Attack:
    ran = False

    def __reduce__(self):
        return (exec, ("from tests.files import test_torch_pickle as t; t.Attack.ran = True",))


class NamesAShell:
    def __reduce__(self):
        return (os.system, ("echo harm",))


@pytest.mark.parametrize("attack, named", [(Attack, "builtins.exec"), (NamesAShell, "system")])
def test_a_pickle_that_would_run_code_is_refused_and_does_not(tmp_path, attack, named):
    path = tmp_path / "evil.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps({"state_dict": attack()}))
    with pytest.raises(ValueError, match=named):
        read_torch_file(path)
    assert not Attack.ran


def test_a_training_frameworks_objects_become_shells(tmp_path, monkeypatch):
    module = types.ModuleType("pytorch_lightning.callbacks")

    class Checkpoint:
        pass

    Checkpoint.__module__, Checkpoint.__qualname__ = module.__name__, "Checkpoint"
    module.Checkpoint = Checkpoint
    monkeypatch.setitem(sys.modules, "pytorch_lightning", types.ModuleType("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    value = {"state_dict": {"w": torch.ones(3)}, "callbacks": {Checkpoint: {"best": Checkpoint()}}}
    path = save(value, tmp_path / "a.ckpt")
    monkeypatch.delitem(sys.modules, module.__name__)
    assert read_torch_file(path)["state_dict"]["w"].tolist() == [1, 1, 1]


def test_damaged_and_foreign_files_are_named(tmp_path):
    whole = save({"w": torch.zeros(1000)}, tmp_path / "whole.pth").read_bytes()
    damaged = {
        "cut.pth": whole[: len(whole) // 2],
        "noise.pth": b"no tensors at all",
        "empty.pth": b"",
    }
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=name):
            read_torch_file(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
    with pytest.raises(ValueError, match="PyTorch has not written"):
        read_torch_file(tmp_path / "photos.zip")


def test_a_part_of_a_storage_in_a_file_of_before_pytorch_0_4(tmp_path):
    """Such files name a view of a storage, and rebuild a tensor by another function."""

    class Storage:
        def __init__(self, view):
            self.view = view

    class Tensor:
        def __init__(self, view, *layout):
            self.arguments = (Storage(view), *layout)

        def __reduce__(self):
            return torch._utils._rebuild_tensor, self.arguments

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                return "storage", torch.FloatStorage, "7", "cpu", 6, value.view

    path = tmp_path / "old.pth"
    with open(path, "wb") as file:
        for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(value, file, 2)
        tensors = {
            "whole": Tensor(None, 0, (2, 3), (3, 1)),
            "part": Tensor(("8", 2, 4), 1, (3,), (1,)),
            "set": {1, 2},
        }
        Pickler(file, 2).dump(tensors)
        pickle.dump(["7"], file, 2)
        file.write((6).to_bytes(8, "little") + np.arange(6, dtype="float32").tobytes())
    found = read_torch_file(path)
    assert found["whole"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["part"].tolist() == [3, 4, 5] and found["set"] == {1, 2}


def test_a_damaged_old_file_is_named_and_a_hostile_one_runs_nothing(tmp_path):
    whole = save({"w": torch.zeros(1000)}, tmp_path / "whole.pth", old=True).read_bytes()
    path = tmp_path / "cut.pth"
    for length in (15, 40, len(whole) // 4, len(whole) - 2000, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="cut.pth"):
            read_torch_file(path)
    rng = np.random.default_rng(0)
    small = save({"w": torch.ones(3, 4)}, tmp_path / "small.pth", old=True).read_bytes()
    for _ in range(300):  # one wrong byte anywhere: some value, or an error that names the file
        damaged = bytearray(small)
        damaged[rng.integers(len(small))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_torch_file(path)
        except ValueError as error:
            assert "cut.pth" in str(error)
    save({"w": torch.zeros(3), "evil": Attack()}, path, old=True)
    with pytest.raises(ValueError, match="builtins.exec"):
        read_torch_file(path)
    assert not Attack.ran


def test_a_tensor_that_reaches_beyond_its_data_is_refused(tmp_path):
    path = save({"w": torch.zeros(4)}, tmp_path / "a.pth")
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = next(n for n in entries if n.endswith("data/0"))
    for data in (entries[name][:8], b""):
        with zipfile.ZipFile(path, "w") as archive:
            for key, value in {**entries, name: data}.items():
                archive.writestr(key, value)
        with pytest.raises(ValueError, match="missing"):
            read_torch_file(path)

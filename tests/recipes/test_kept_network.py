import importlib
from pathlib import Path

import keras
import numpy as np
import pytest


@pytest.fixture
def kept():
    return importlib.import_module("shared.kept_network").kept_network


def build(units=3):
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(units)], name="judge")


def fill(network):
    network.set_weights([np.full(w.shape, 2.0) for w in network.weights])


def never(network):
    raise AssertionError("trained again")


def test_a_network_is_trained_once(kept):
    kept("runs/judge.keras", build, fill)
    again = kept("runs/judge.keras", build, never)
    np.testing.assert_array_equal(again.get_weights()[0], np.full((2, 3), 2.0))


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "bits"])
def test_a_damaged_file_is_made_anew_and_one_line_says_so(kept, damage, capsys):
    kept("judge.keras", build, fill)
    path = Path("judge.keras")
    whole = path.read_bytes()
    start = whole.index(b"\x89HDF") + 100
    flipped = whole[:start] + bytes(255 - byte for byte in whole[start : start + 200])
    flipped += whole[start + 200 :]
    damaged = {"cut": whole[:-300], "text": b"no zip", "empty": b"", "bits": flipped}
    path.write_bytes(damaged[damage])
    capsys.readouterr()
    network = kept("judge.keras", build, fill)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("judge.keras cannot be used (")] == lines[:1]
    np.testing.assert_array_equal(network.get_weights()[0], np.full((2, 3), 2.0))
    kept("judge.keras", build, never)


class Mine(keras.layers.Layer):
    """Not registered with Keras: no other program can load it."""

    def call(self, x):
        return x


def test_an_intact_file_of_another_network_is_refused_and_stays(kept):
    path = Path("judge.keras")
    others = keras.Sequential([keras.Input((2,)), Mine()])
    for make in (lambda: kept(path, lambda: build(4), fill), lambda: others.save(path)):
        make()
        whole = path.read_bytes()
        with pytest.raises(ValueError, match="judge.keras.*this judge.*not overwritten"):
            kept(path, build, never)
        assert path.read_bytes() == whole
        path.unlink()


def test_an_interrupted_training_leaves_no_file(kept):
    def interrupt(network):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept("judge.keras", build, interrupt)
    assert not list(Path().iterdir())


def test_a_place_that_cannot_be_written_is_named_before_the_training(kept):
    Path("a_file").write_text("")
    with pytest.raises(OSError, match="a_file"):
        kept("a_file/judge.keras", build, never)
    with pytest.raises(ValueError, match="judge.h5"):
        kept("judge.h5", build, never)

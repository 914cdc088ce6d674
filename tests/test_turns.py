"""Tests that take turns: none is left out for good, and none runs twice a day."""

from types import SimpleNamespace

import pytest

from tests import conftest

BACKENDS = ("tensorflow", "jax", "torch")
CYCLE = 3 * len(conftest.TURNS)
pytestmark = pytest.mark.one_backend


def days(monkeypatch, name, *markers):
    """{backend: the days of a cycle on which a test of that name and those markers runs}."""
    item = SimpleNamespace(nodeid=name, get_closest_marker=lambda marker: marker in markers)
    found = {}
    for backend in BACKENDS:
        monkeypatch.setattr(conftest, "keras_backend", lambda backend=backend: backend)
        found[backend] = set()
        for day in range(CYCLE):
            monkeypatch.setenv("TEST_DAY", str(day))
            if conftest.runs_today(item):
                found[backend].add(day)
    return found


@pytest.mark.parametrize(
    "name", ["tests/data/test_a.py::test_b", "tests/x.py::test_onnx_files[y]", "tests/x.py::test_y"]
)
def test_a_test_of_one_backend_runs_once_a_day_and_on_each_in_a_cycle(monkeypatch, name):
    found = days(monkeypatch, name, "one_backend")
    assert all(found.values())
    assert sorted(day for run in found.values() for day in run) == list(range(CYCLE))


def test_a_seldom_test_runs_on_each_backend_on_one_day_of_three(monkeypatch):
    found = days(monkeypatch, "tests/quantizers/test_a.py::test_b", "seldom")
    first = min(found["jax"])
    assert first < 3 and all(run == set(range(first, CYCLE, 3)) for run in found.values())


@pytest.mark.parametrize("number", range(4))
def test_a_seldom_test_of_one_backend_still_runs_on_each_in_a_cycle(monkeypatch, number):
    found = days(monkeypatch, f"tests/quantizers/test_a.py::test_{number}", "seldom", "one_backend")
    assert all(found.values()) and sum(map(len, found.values())) == CYCLE // 3


@pytest.mark.parametrize("markers, share", [((), 1), (("seldom",), 1 / 3)])
def test_what_is_long_to_compile_runs_on_pytorch_and_in_turns_elsewhere(
    monkeypatch, markers, share
):
    found = days(monkeypatch, f"{conftest.LONG_TO_COMPILE[0]}::test_b", *markers)
    whole = CYCLE * share
    assert {backend: len(run) for backend, run in found.items()} == {
        "tensorflow": whole / 4, "jax": whole / 4, "torch": whole,
    }  # fmt: skip
    assert not found["tensorflow"] & found["jax"]


def test_all_others_run_every_day_everywhere(monkeypatch):
    found = days(monkeypatch, "tests/quantizers/test_a.py::test_b")
    assert all(len(run) == CYCLE for run in found.values())

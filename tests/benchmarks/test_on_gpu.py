"""The commands that run many benchmarks: a failure loses its row, and a finished row stays."""

import json
import re
import sys
from pathlib import Path

import pytest

from benchmarks import all as all_benchmarks
from benchmarks import on_gpu
from benchmarks.own_process import run_logged

pytestmark = pytest.mark.one_backend


def test_a_command_that_hangs_or_fails_is_named(tmp_path):
    def run(code, limit=20):
        return run_logged([sys.executable, "-c", code], tmp_path / "log.txt", limit)[0]

    assert run("print('fine')") is None
    assert run("import time; time.sleep(60)", limit=0.5) == "stopped after 0 s"
    assert run("raise ValueError('a | b')") == "ValueError: a | b"
    assert run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)") == "killed by SIGKILL"


@pytest.mark.seldom
def test_rows_are_measured_and_a_failure_loses_its_own(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    toy = ["--toy", "--only", "quantizer", "--sides", "plain", "--output", str(tmp_path)]
    start, started = on_gpu.run_row, []

    def run_row(name, settings, *rest):
        started.append(name)
        wrong = settings["codes"] == 64 and len(started) < 3
        return start(name, {**settings, "codes": -1} if wrong else settings, *rest)

    monkeypatch.setattr(on_gpu, "run_row", run_row)
    on_gpu.main(toy)
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    failed = [name for name, row in rows.items() if "error" in row]
    assert failed == ["quantizer, 64 codes, float32, plain PyTorch"] and len(rows) == 2
    for name in rows.keys() - failed:
        assert min(rows[name]["seconds"]) > 0 and rows[name]["device"]
    table = capsys.readouterr().out
    assert f"| {failed[0]} | failed: RuntimeError" in table
    assert "| quantizer, 32 codes, float32, plain PyTorch | " in table and "| 1.00 |" in table

    on_gpu.main(toy)  # what failed, alone
    assert started[2:] == failed
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert not [name for name, row in rows.items() if "error" in row]
    with pytest.raises(SystemExit, match="another machine or of another size"):
        on_gpu.main(toy[1:])


def test_without_time_left_a_row_says_so(tmp_path):
    on_gpu.main(["--toy", "--only", "training", "--minutes", "0.05", "--output", str(tmp_path)])
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert len(rows) == 8
    assert {row["error"] for row in rows.values()} == {"not run: no time was left"}


def test_every_benchmark_of_the_table_is_run_by_all():
    page = (Path(all_benchmarks.__file__).parent / "README.md").read_text()
    named = set(re.findall(r"^\| `benchmarks\.(\w+)`", page, re.M))
    assert named - {"all", "on_gpu"} == {name.split()[0] for name in all_benchmarks.BENCHMARKS}


def test_all_goes_on_after_a_failure_and_runs_nothing_twice(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    toy = ["--toy", "--only", "sample_autoregressive", "quantizer_pairs"]
    toy += ["--backends", "torch", "--output", str(tmp_path)]
    monkeypatch.setitem(all_benchmarks.BENCHMARKS, "quantizer_pairs", ("", "--only nothing"))
    all_benchmarks.main(toy)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["sample_autoregressive torch"]["error"] is None
    assert "tokens/s" in results["sample_autoregressive torch"]["says"]
    assert "invalid choice: 'nothing'" in results["quantizer_pairs torch"]["error"]
    table = (tmp_path / "results.md").read_text()
    assert table.count("\n| ") == 2 and "KERAS_BACKEND=torch python -m benchmarks." in table

    started = []
    monkeypatch.setattr(
        all_benchmarks, "run_logged", lambda words, *rest: started.append(words[2]) or (None, 1.0)
    )
    all_benchmarks.main(toy)
    assert started == ["benchmarks.quantizer_pairs"]
    assert "sample_autoregressive torch: finished" in capsys.readouterr().out

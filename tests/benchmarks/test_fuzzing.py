"""The harness that reads damaged files finds each way in which reading can go wrong."""

import os
import time

import numpy as np

from benchmarks.robustness import fuzzing


def test_each_kind_of_failure_is_found_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzzing, "SECONDS", 5)  # the arrays of the last case may take two
    monkeypatch.setattr(fuzzing, "MEMORY", 2e8)

    def make_case(number):
        path = tmp_path / f"case_{number}"
        path.write_text(str(number))
        return path

    def read(path):
        number = int(path.read_text())
        if number == 1:
            raise ValueError(f"{path} is damaged")
        if number == 2:
            raise ValueError("something is damaged")
        if number == 3:
            raise KeyError(str(path))
        if number == 4:
            time.sleep(60)
        if number == 5:
            os._exit(3)
        if number == 6:
            np.ones(4 * 10**7)

    outcomes, findings = fuzzing.fuzz(make_case, read, 8)
    assert outcomes["read"] == 2 and outcomes["refused"] == 1  # 0 and 7; 1
    assert [number for number, _ in findings] == [2, 3, 4, 5, 6]
    for (_, text), word in zip(
        findings, ("not name", "KeyError", "hang", "crash", "memory"), strict=True
    ):
        assert word in text
    assert fuzzing.report(outcomes, findings) == 1

"""Try many damaged files in a process of their own: what crashes, hangs, or fails in other words.

A case is read by a function that may succeed, or raise a ValueError or an OSError whose message
names the file. All else is a finding: a crash, a hang, more than 1 GB of memory, another error.
"""

import multiprocessing
import time
from collections import Counter
from pathlib import Path

from keras.utils import Progbar

SECONDS = 60  # a case that takes longer hangs
MEMORY = 1e9  # bytes


def fuzz(make_case, read, count, first=0):
    """Read the cases `first` to `first + count - 1`.

    Args:
        make_case: function of a case's number that writes its file and returns the path; the same
            number must make the same file.
        read: function of the path.

    Returns:
        Counter of outcomes, and the findings: a list of (number, text).
    """
    outcomes, findings, number = Counter(), [], first
    progress = Progbar(count)
    while number < first + count:
        ours, theirs = multiprocessing.Pipe()
        arguments = make_case, read, number, first + count, theirs
        worker = multiprocessing.get_context("fork").Process(target=_work, args=arguments)
        worker.start()
        theirs.close()
        while number < first + count:
            try:
                outcome = ours.recv() if ours.poll(SECONDS) else "a hang"
            except EOFError:
                worker.join()
                outcome = f"a crash (exit code {worker.exitcode})"
            kind = outcome if outcome in ("read", "refused") else outcome.split(":")[0]
            outcomes[kind] += 1
            if outcome not in ("read", "refused"):
                findings.append((number, outcome))
            number += 1
            progress.update(number - first)
            if outcome.startswith(("a hang", "a crash")):
                break
        worker.kill()
        worker.join()
    return outcomes, findings


def report(outcomes, findings):
    """Print what `fuzz` found; 1 if there is a finding, else 0: the exit status."""
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
    for number, text in findings:
        print(f"case {number}: {text}")
    return int(bool(findings))


def _work(make_case, read, number, end, results):
    for case in range(number, end):
        path = make_case(case)
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
        started = time.monotonic()
        outcome = _outcome(read, path)
        grown, seconds = _memory("VmHWM") - before, time.monotonic() - started
        if grown > MEMORY:
            outcome = f"too much memory: {grown / 1e9:.1f} GB in {seconds:.0f} s, then {outcome}"
        results.send(outcome)


def _outcome(read, path):
    try:
        read(path)
    except (ValueError, OSError) as error:
        if Path(path).name in str(error):
            return "refused"
        return f"an error that does not name the file: {type(error).__name__}: {error}"
    except BaseException as error:
        return f"another error: {type(error).__name__}: {error}"
    return "read"


def _memory(kind):
    """Bytes of this process: "VmRSS", what it has now, or "VmHWM", the most it has had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {kind}")

import os
import signal
import subprocess
import sys

import pytest

# Many short sleeps: a signal that comes just before a long one is only seen at its end.
SLEEPS = "for _ in range(600): time.sleep(0.1)"

SLOW = """
import sys, time
sys.path.insert(0, {recipes!r})
from shared.running import ON_RESUME, run

def main():
    print("started", flush=True)
    {sleeps}

run(main, {afterwards})
"""


@pytest.mark.parametrize(
    "number, afterwards, line",
    [
        (
            signal.SIGINT,
            "ON_RESUME",
            "Interrupted. The same command with --resume goes on at the last finished epoch.",
        ),
        (signal.SIGTERM, "''", "Terminated."),
    ],
)
def test_a_signal_ends_a_recipe_with_one_line(number, afterwards, line):
    from tests.recipes.conftest import RECIPES

    script = SLOW.format(recipes=str(RECIPES), sleeps=SLEEPS, afterwards=afterwards)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "started\n"
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=30)
    assert errors.strip() == line
    assert process.returncode == 128 + number


ENDS = """
import sys, warnings
sys.path.insert(0, {recipes!r})
from shared.running import run

def main():
    warnings.warn("two\\nlines")
    raise {error}

run(main)
"""


@pytest.mark.parametrize(
    "error, line",
    [
        (
            "ValueError('Argument `source` is wrong.\\nExpected: x.')",
            "--data is wrong. Expected: x.",
        ),
        ("OSError(28, 'No space left on device', 'file')", "file: No space left on device"),
        ("ImportError('no package')", "no package"),
        ("ValueError()", "ValueError"),
    ],
)
def test_an_error_and_a_warning_are_a_line_each(error, line):
    from tests.recipes.conftest import RECIPES

    script = ENDS.format(recipes=str(RECIPES), error=error)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.stderr.splitlines() == ["Warning: two lines", f"error: {line}"]
    assert ended.returncode == 1


SWALLOWS = """
import sys, time
sys.path.insert(0, {recipes!r})
from shared import running
running._AGAIN = 0.2

def main():
    print("started", flush=True)
    try:
        {sleeps}
    except:
        {then}
    {sleeps}

running.run(main)
"""


@pytest.mark.parametrize("then", ["pass", "raise TypeError('Invalid dtype: object')"])
def test_an_interruption_that_a_library_swallows_or_changes_ends_the_recipe_all_the_same(then):
    from tests.recipes.conftest import RECIPES

    script = SWALLOWS.format(recipes=str(RECIPES), sleeps=SLEEPS, then=then)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "started\n"
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert errors.strip() == "Interrupted." and process.returncode == 130

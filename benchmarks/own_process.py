"""A command in a process of its own, with a time limit, and what is said of it in a table."""

import contextlib
import os
import platform
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
_ERROR = re.compile(r"^(?:error: |[\w.]*(?:Error|Exception|Interrupt|Exit)\b).*", re.M)


def run_logged(words, log, limit, environment=()):
    """Run a command from the repository's root and keep what it prints.

    Args:
        words: the command.
        log: file that gets its standard output and standard error.
        limit: seconds after which it is killed, with every process that it started.
        environment: pairs that are added to this process's environment.

    Returns:
        What went wrong, in one line, or None; and the seconds that it ran.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, **dict(environment)}
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with open(log, "wb") as file:
        process = subprocess.Popen(
            words, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(limit)
            late = False
        except subprocess.TimeoutExpired:
            late = True
        finally:  # Ctrl-C, too, leaves nothing behind
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    seconds = time.perf_counter() - start
    if late:
        return f"stopped after {limit:.0f} s", seconds
    if process.returncode < 0:
        return f"killed by {signal.Signals(-process.returncode).name}", seconds
    return (error_line(log) if process.returncode else None), seconds


def error_line(log):
    """The last line that names an error, else the last line."""
    text = log.read_text(errors="replace")
    lines = _ERROR.findall(text) or text.split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")


def cell(text, longest=200):
    """A text as a cell of a Markdown table."""
    text = " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= longest else text[:longest] + " ..."


def machine():
    """The processor, the cores that this process may use, and the GPUs."""
    names = re.findall(r"model name\s*: (.*)", _read("/proc/cpuinfo"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    said = f"{names[0] if names else platform.processor() or platform.machine()}, {cores} cores"
    return "; ".join([said, *cards()])


def cards():
    """Name, driver and memory of each NVIDIA GPU, as nvidia-smi says."""
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(query, check=True, capture_output=True, text=True, timeout=20)
        return said.stdout.strip().splitlines()
    return []


def _read(path):
    with contextlib.suppress(OSError):
        return Path(path).read_text()
    return ""

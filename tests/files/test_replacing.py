"""Files and folders are replaced whole, whatever happens while they are written."""

import contextlib
import ctypes
import os
import random
import resource
import subprocess
import sys
import time

import pytest

from keras_regvq.files import replacing as replacing_module
from keras_regvq.files.replacing import replacing, replacing_directory, write_bytes, write_text

FOREVER = "999999999"  # no process of this machine


@contextlib.contextmanager
def small_disk(limit):
    """Writing more than `limit` bytes to a file fails as on a full disk, with an OSError."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "one")
    write_text(tmp_path / "new" / "a.txt", "twö")
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "twö"
    assert os.listdir(tmp_path / "new") == ["a.txt"]


def test_the_temporary_name_keeps_the_suffix_that_writers_go_by(tmp_path):
    with replacing(tmp_path / "a.weights.h5") as part:
        assert part.name.endswith("a.weights.h5") and part.name != "a.weights.h5"
        part.write_bytes(b"1")


def test_a_failure_keeps_the_old_file(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a.txt") as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "a.txt").read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with small_disk(1000), pytest.raises(OSError, match="a.txt") as error:
        write_bytes(tmp_path / "a.txt", b"x" * 10_000)
    assert error.value.errno is not None
    assert (tmp_path / "a.txt").read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_what_a_link_names_is_replaced_and_not_the_link(tmp_path):
    write_text(tmp_path / "there.txt", "old")
    (tmp_path / "link.txt").symlink_to("there.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "there.txt").read_text() == "new"


def test_what_killed_processes_left_is_removed_and_running_ones_keep_theirs(tmp_path):
    with replacing(tmp_path / "a.txt") as part:
        ours, part_of_us = part.name, str(os.getpid())
        part.write_text("1")
    dead = tmp_path / ours.replace(part_of_us, FOREVER)
    running = tmp_path / ours.replace(part_of_us, str(os.getppid()))
    other = tmp_path / ours.replace(part_of_us, FOREVER).replace("a.txt", "ba.txt")
    for file in (dead, running, other):
        file.write_text("half")
    write_text(tmp_path / "a.txt", "2")
    assert not dead.exists() and running.exists() and other.exists()


def test_windows_is_asked_for_a_process_without_a_signal(tmp_path, monkeypatch):
    """On Windows `os.kill(process, 0)` sends Ctrl-C; here is a stand-in for its kernel."""
    processes = {11: "runs", 12: "has ended", 13: "is another user's"}

    class Kernel:
        def __init__(self, name, use_last_error):
            self.OpenProcess = lambda access, inherited, process: self.open(process.value)

        def open(self, process):
            return process if process in (11, 12) else None

        def WaitForSingleObject(self, handle, milliseconds):
            return {11: 0x102, 12: 0}[handle.value]

        def CloseHandle(self, handle):
            closed.append(handle.value)

    closed, asked = [], []
    last_error = lambda: 5 if asked[-1] == 13 else 87  # noqa: E731
    with replacing(tmp_path / "a.txt") as part:
        name = part.name
        part.write_text("1")
    for process in (*processes, 14, 2**70):
        (tmp_path / name.replace(str(os.getpid()), str(process))).write_text("half")
    windows = replacing_module._is_running_on_windows
    monkeypatch.setattr(
        replacing_module,
        "_is_running_on_windows",
        lambda process: asked.append(process) or windows(process),
    )
    monkeypatch.setattr(ctypes, "WinDLL", Kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", last_error, raising=False)
    monkeypatch.setattr(os, "kill", None)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        replacing_module._remove_leftovers(tmp_path / "a.txt")
    left = {path.name for path in tmp_path.iterdir()} - {"a.txt"}
    assert left == {name.replace(str(os.getpid()), str(process)) for process in (11, 13)}
    assert sorted(closed) == [11, 12]


def test_a_name_with_a_number_that_is_no_process_is_a_leftover(tmp_path):
    with replacing(tmp_path / "a.txt") as part:
        left = tmp_path / part.name.replace(str(os.getpid()), str(2**70))
        part.write_text("1")
    left.write_text("half")
    write_text(tmp_path / "a.txt", "2")
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_is_replaced_with_all_that_it_held(tmp_path):
    for content, name in (("old", "a"), ("new", "b")):
        with replacing_directory(tmp_path / "preset") as part:
            (part / "sub").mkdir()
            (part / "sub" / name).write_text(content)
    assert [p.name for p in (tmp_path / "preset").rglob("*") if p.is_file()] == ["b"]
    assert os.listdir(tmp_path) == ["preset"]


def test_a_folder_is_replaced_where_the_system_cannot_exchange(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_regvq.files.replacing._exchange", lambda one, other: False)
    test_a_folder_is_replaced_with_all_that_it_held(tmp_path)


def test_a_failure_keeps_the_old_folder(tmp_path):
    with replacing_directory(tmp_path / "preset") as part:
        (part / "a").write_text("old")
    with small_disk(1000), pytest.raises(OSError, match="preset"):
        with replacing_directory(tmp_path / "preset") as part:
            (part / "a").write_bytes(b"x" * 10_000)
    assert (tmp_path / "preset" / "a").read_text() == "old" and os.listdir(tmp_path) == ["preset"]


def test_a_kill_at_any_moment_leaves_the_folder_whole(tmp_path):
    """Another process replaces a folder of two files again and again until it is killed."""
    program = f"""
import itertools
from keras_regvq.files.replacing import replacing_directory
for number in itertools.count():
    with replacing_directory({str(tmp_path / "preset")!r}) as part:
        (part / "a").write_text(str(number))
        (part / "b").write_text(str(number))
    print(number, flush=True)
"""
    delays = random.Random(0)
    for _ in range(10):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(delays.uniform(0, 0.01))
        process.kill()
        process.communicate()
        a, b = ((tmp_path / "preset" / name).read_text() for name in "ab")
        assert a == b


def test_a_folder_that_was_moved_away_when_its_process_was_killed_comes_back(tmp_path):
    with replacing_directory(tmp_path / "preset") as part:
        dead = part.name.replace(str(os.getpid()), FOREVER)
        (part / "a").write_text("old")
    (tmp_path / "preset").rename(tmp_path / f"{dead}.old")
    with pytest.raises(ZeroDivisionError), replacing_directory(tmp_path / "preset"):
        raise ZeroDivisionError
    assert (tmp_path / "preset" / "a").read_text() == "old" and os.listdir(tmp_path) == ["preset"]


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.txt") as error:
        with replacing(tmp_path / "a.txt"):
            open(tmp_path / "missing.txt")
    assert "a.txt" not in str(error.value)

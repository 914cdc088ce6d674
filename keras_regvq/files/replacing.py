"""Files and folders that are replaced as one: after a kill the old or the new one is there, whole.

Everything is written beside its place under a temporary name, brought to disk, and renamed.
"""

import contextlib
import ctypes
import os
import re
import shutil
import socket
import sys
from pathlib import Path

_HOST = re.sub(r"\W", "_", socket.gethostname())
_AT_WORKING_DIRECTORY, _EXCHANGE = -100, 2  # of renameat2(2)


@contextlib.contextmanager
def replacing(path):
    """Give the path of a temporary file, which becomes `path` when the body has succeeded.

    The temporary name ends as `path` does, so that writers which go by the suffix find it. If the
    body fails, what was at `path` stays.

    Args:
        path: the file to write. Its folder is made if missing.

    Raises:
        OSError: naming `path`, such as for a full disk.
    """
    path = Path(path)
    with beside(path) as part:
        yield part
        _bring_to_disk(part)
        # A link is followed, so that the file it names is replaced and not the link.
        os.replace(part, path.resolve() if path.is_symlink() else path)


def write_text(path, text):
    """Replace the file at `path` by `text`, in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path, data):
    """Replace the file at `path` by `data`."""
    with replacing(path) as part:
        part.write_bytes(data)


@contextlib.contextmanager
def replacing_directory(path):
    """Give an empty temporary folder, which becomes the folder `path` when the body has succeeded.

    Linux exchanges old and new in one step. Where the file system cannot, the old folder is moved
    away first: a kill exactly then leaves it beside, under a name that ends in its own.

    Args:
        path: the folder to replace, or to make.

    Raises:
        OSError: naming `path`, such as for a full disk.
    """
    path = Path(path).resolve()
    with beside(path) as part:
        part.mkdir()
        yield part
        for file in part.rglob("*"):
            if file.is_file():
                _bring_to_disk(file)
        if not path.exists():
            os.rename(part, path)
        elif not _exchange(part, path):
            old = part.with_name(f"{part.name}.old")
            os.rename(path, old)
            try:
                os.rename(part, path)
            except OSError:
                os.rename(old, path)
                raise
            os.rename(old, part)  # to be removed


@contextlib.contextmanager
def beside(path):
    """A temporary name beside `path`, where nothing is left in the end."""
    part = path.with_name(f".part-{_HOST}-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        try:
            yield part
        finally:
            remove(part)
    except OSError as error:
        theirs = error.filename is not None and part.name not in str(error.filename)
        if theirs and str(path.parent) != str(error.filename):
            raise
        reason = error.strerror or str(error)
        # With a number, OSError makes itself the subclass that callers look for.
        raise OSError(error.errno, f"{reason}, while it was written", str(path)) from error


def final_name(path):
    """The name of a file or folder; of one that is still temporary, the name that it will get."""
    return re.sub(rf"^\.part-{_HOST}-\d+-", "", Path(path).resolve().name)


def _remove_leftovers(path):
    """Remove what killed processes of this machine have left of writing `path`."""
    pattern = re.compile(rf"\.part-{_HOST}-(\d+)-{re.escape(path.name)}(\.old)?")
    for name in os.listdir(path.parent):
        match = pattern.fullmatch(name)
        if not match or _is_running(int(match[1])):
            continue
        if match[2] and not path.exists():  # killed between moving the old away and the new here
            os.rename(path.with_name(name), path)
        else:
            remove(path.with_name(name))


def _is_running(process):
    if process == os.getpid():
        return False  # what it is writing now comes after this
    if sys.platform == "win32":
        return _is_running_on_windows(process)
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


def _is_running_on_windows(process):
    """Where `os.kill(process, 0)` is no question, but sends Ctrl-C."""
    if process >= 2**32:
        return False
    synchronize, no_such_process, not_ended = 0x100000, 87, 0x102
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(synchronize, False, ctypes.c_uint32(process))
    if not handle:
        return ctypes.get_last_error() != no_such_process
    try:
        return kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) == not_ended
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _bring_to_disk(path):
    # Windows needs it open for writing; elsewhere a file may be one that only can be read.
    with open(path, "rb+" if sys.platform == "win32" else "rb") as file:
        os.fsync(file.fileno())


def _exchange(one, other):
    """Let two paths change places in one step; False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = os.fsencode(one), os.fsencode(other)
    return rename is not None and not rename(
        _AT_WORKING_DIRECTORY, names[0], _AT_WORKING_DIRECTORY, names[1], _EXCHANGE
    )

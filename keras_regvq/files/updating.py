"""Folders in which some files are replaced together, and the others stay."""

import contextlib
import os
import shutil
from pathlib import Path

from keras_regvq.files.replacing import beside, remove, replacing_directory


@contextlib.contextmanager
def updating_directory(path):
    """Give a temporary folder for new files of the folder `path`, which take their places as one.

    For files that belong together, such as a config and its weights: after a kill all are old, or
    all are new. What the body does not write stays as it was. A folder that cannot be exchanged,
    since it is the working directory or a mount point, gets its new files one after the other.

    The temporary folder has the old files, too, as links where the file system can: the body must
    replace a file and not write into it.

    Args:
        path: the folder; made if missing.

    Raises:
        OSError: naming `path`, such as for a full disk.
    """
    path = Path(path).resolve()
    if path.is_dir() and _must_stay(path):
        with beside(path / "update") as part:
            part.mkdir()
            yield part
            for file in part.iterdir():
                put_in_place(file, path / file.name)
        return
    with replacing_directory(path) as part:
        if path.exists():
            shutil.copytree(path, part, symlinks=True, copy_function=_link, dirs_exist_ok=True)
        yield part


def put_in_place(source, target):
    """Let `target` be the file or folder `source`, which stays, too."""
    with beside(target) as part:
        if source.is_dir():
            shutil.copytree(source, part, copy_function=_link)
        else:
            _link(source, part)
        if source.is_dir() or target.is_dir():
            remove(target)
        os.replace(part, target)


def _must_stay(path):
    working = Path.cwd()
    return path == working or path in working.parents or path.is_mount()


def _link(source, target):
    """A second name for a file, or where the file system has none, a copy."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target)

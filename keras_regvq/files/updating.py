"""Folders in which some files are replaced together, and the others stay."""

import contextlib
import os
import shutil
from pathlib import Path

from keras_regvq.files.replacing import beside, remove, replacing_directory


@contextlib.contextmanager
def updating_directory(path, names):
    """Give an empty temporary folder for files of the folder `path`, which then take their places.

    For files that belong together, such as a config and its weights. If nothing else is in the
    folder, it is exchanged, so that after a kill all are old or all are new. Where others have
    files there, or it is the working directory or a mount point, it stays, and gets its files one
    after the other in the end, each whole.

    Args:
        path: the folder; made if missing.
        names: of all that the body writes.

    Raises:
        OSError: naming `path`, such as for a full disk.
    """
    path = Path(path).resolve()
    if not path.exists() or not _must_stay(path) and {p.name for p in path.iterdir()} <= {*names}:
        with replacing_directory(path) as part:
            yield part
        return
    with beside(path / "update") as part:
        part.mkdir()
        yield part
        for file in part.iterdir():
            put_in_place(file, path / file.name)


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
    stays = path == working or path in working.parents or path.is_mount()
    return stays or not os.access(path.parent, os.W_OK)


def _link(source, target):
    """A second name for a file, or where the file system has none, a copy."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target)

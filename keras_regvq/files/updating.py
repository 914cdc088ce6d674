"""Folders in which some files are replaced together, and the others stay."""

import contextlib
import os
import shutil
from pathlib import Path

from keras_regvq.files.replacing import replacing_directory


@contextlib.contextmanager
def updating_directory(path):
    """Give a temporary folder with what is in the folder `path`, which takes its place as one.

    For files that belong together, such as a config and its weights: after a kill both are old, or
    both are new. What the body does not write stays as it was. Files are linked and not copied
    where the file system can, so the body must replace a file and not write into it.

    Args:
        path: the folder; made if missing.

    Raises:
        OSError: naming `path`, such as for a full disk.
    """
    path = Path(path)
    with replacing_directory(path) as part:
        if path.exists():
            shutil.copytree(path, part, symlinks=True, copy_function=_link, dirs_exist_ok=True)
        yield part


def _link(source, target):
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target)

"""Opening what a folder of data holds: regular files only, whatever else has their names."""

import errno
import os
import stat


def open_regular(path):
    """Open a file for reading bytes; links to files are followed.

    Reading a pipe, a socket or a device would wait for ever, or do something: none is opened.

    Raises:
        OSError: naming `path`, if it cannot be opened or is no regular file.
    """
    _check(path, os.stat(path))
    # What has become a pipe since then does not block, and is seen below.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        _check(path, os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def shown_name(path):
    """A path as text that can be printed: what is no UTF-8, and control characters, are escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _check(path, status):
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, a socket or a device"
        raise OSError(errno.EINVAL, f"{what}, not a regular file", shown_name(path))

"""One way in which reading a file fails: a ValueError that names the file and says why."""

import contextlib
import os

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.regular_files import open_regular

_LONGEST_REASON = 300


@contextlib.contextmanager
def reading(path, expected, argument="path"):
    """Turn whatever a reader raises into the one refusal of this package.

    A damaged file can fail anywhere inside zipfile, json, yaml or NumPy, and in any way: it can
    end too early, nest too deeply, or name a size that no memory holds.

    Args:
        path: the file, as errors name it.
        expected: what it should be.
        argument: the argument that named it.

    Raises:
        ValueError: for any exception of the body, but for what is not the file's fault: an
            ImportError, and a refusal that names the file already.
    """
    try:
        yield
    except ImportError:
        raise
    except Exception as error:
        is_refusal = isinstance(error, ValueError) and str(error).startswith("Argument `")
        if is_refusal and names_file(error, path):
            raise
        reason = f"{type(error).__name__}: {error}"
        if len(reason) > _LONGEST_REASON:
            reason = f"{reason[:_LONGEST_REASON]}..."
        refuse(argument, f"{str(path)!r}, which cannot be read ({reason})", expected)


def names_file(error, path):
    """Whether an error's text has a path, as it is or quoted: on Windows these differ."""
    text = str(error)
    return str(path) in text or repr(str(path)) in text


def file_size(file):
    """The size of an open file in bytes."""
    return os.fstat(file.fileno()).st_size


def read_regular(path, largest):
    """The bytes of a regular file: no device, and no pipe, which would never end.

    Args:
        path: the file.
        largest: bytes that it has at most.

    Raises:
        OSError, ValueError: for `reading` to name the file.
    """
    with open_regular(path) as file:
        size = file_size(file)
        if size > largest:
            raise ValueError(f"it has {size:,} bytes, and at most {largest:,} are read")
        return file.read(largest)

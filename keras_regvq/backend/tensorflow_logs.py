"""TensorFlow without its log lines, for commands and where it is not the backend."""

import contextlib
import importlib.abc
import importlib.util
import logging
import os
import re
import sys
import tempfile

_SEVERITIES = "IWEF"  # what a log line starts with, in the order of TF_CPP_MIN_LOG_LEVEL
_EARLY_LINE = re.compile(r"([IWEF])\d{4} [\d:.]+ +\d+ \S+:\d+\] ")


def quiet_tensorflow():
    """Leave out TensorFlow's log lines from now on.

    KerasHub and tf.data import TensorFlow on every backend. TF_CPP_MIN_LOG_LEVEL becomes 3 unless
    the user has set it. It does not hold for what TensorFlow writes while it is being imported
    (about oneDNN and CUDA): of that, the lines below the level are left out here. Call it before
    anything imports TensorFlow; it does not import it itself.
    """
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if not any(isinstance(finder, _QuietImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _QuietImport())


def quiet_tensorflow_as_a_helper():
    """`quiet_tensorflow`, if another backend computes: nobody has asked for TensorFlow then.

    It reads data and captions all the same. Imports nothing; the backend is Keras's, if it has been
    imported, else KERAS_BACKEND's.
    """
    keras = sys.modules.get("keras")
    known = keras is not None and hasattr(keras, "backend")
    backend = keras.backend.backend() if known else os.environ.get("KERAS_BACKEND", "")
    if backend not in ("", "tensorflow") and "tensorflow" not in sys.modules:
        quiet_tensorflow()


class _QuietImport(importlib.abc.MetaPathFinder):
    """Finds TensorFlow as the other finders do, and filters stderr while it is imported."""

    def __init__(self):
        self._asking = False

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow" or self._asking:
            return None
        self._asking = True  # the others
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._asking = False
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module
            spec.loader.exec_module = lambda module: _filtered(run, module)
        return spec


def _filtered(run, module):
    level = os.environ["TF_CPP_MIN_LOG_LEVEL"]
    level = int(level) if level.isdecimal() else 0
    with _filtered_stderr(lambda text: without_early_lines(text, level)):
        run(module)


def without_early_lines(text, level):
    """What is left of `text` without TensorFlow's log lines of a severity below `level`."""
    lines, kept = [], True
    for line in text.splitlines(keepends=True):
        match = _EARLY_LINE.match(line)
        if match:
            kept = _SEVERITIES.index(match[1]) >= level
        elif "before absl::InitializeLog()" in line:
            kept = level == 0
        elif not line.startswith("To enable the following instructions"):  # a line that goes on
            kept = True
        if kept:
            lines.append(line)
    return "".join(lines)


@contextlib.contextmanager
def _filtered_stderr(keep):
    """Hold back what is written to file descriptor 2, by C++ too; then write keep(text) there."""
    try:
        held = tempfile.TemporaryFile()
        stderr = os.dup(2)
    except OSError:  # nowhere to hold it back, or it is closed and nothing is seen of it
        yield
        return
    with held:
        sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            sys.stderr.write(keep(held.read().decode(errors="replace")))

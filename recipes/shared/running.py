"""How a recipe runs as a command, and ends when it fails or is interrupted: with one line.

A recipe answers `--help` at once: its file imports at the top only what is light (`keras_regvq` is:
its parts load when they are first used). What imports keras is imported in `main`, after the
arguments have been parsed, or stands in modules that are no commands.
"""

import signal
import sys
import warnings

from keras_regvq.backend.jax_environment import keep_what_jax_compiles
from keras_regvq.backend.tensorflow_logs import quiet_tensorflow

ON_RESUME = "The same command with --resume goes on at the last finished epoch."

_WORDS = {signal.SIGINT: "Interrupted", signal.SIGTERM: "Terminated"}
_AGAIN = 5.0  # seconds


def run(main, afterwards=""):
    """Call a recipe's `main`, for its last line: `if __name__ == "__main__": run(main)`.

    Ctrl-C (SIGINT) and SIGTERM, which batch systems and `timeout` send, end the process with one
    line and the exit status that a shell expects, 130 and 143. Whatever is being written then is
    whole or not there. What is refused (ValueError), or cannot be read, written or imported, ends
    it with a line that starts with "error: ", and 1. A warning is a line, too, and TensorFlow's log
    lines are left out. JAX keeps what it compiles for the next run.

    Args:
        main: function without arguments.
        afterwards: how to go on after an interruption, such as `ON_RESUME`; said in that line.
    """
    received = []

    def interrupt(number, frame):
        received.append(number)
        # Some library may swallow the exception: then it comes again.
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        raise KeyboardInterrupt

    for number in _WORDS:
        signal.signal(number, interrupt)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, lambda *_: interrupt(received[0], None))
    quiet_tensorflow()
    keep_what_jax_compiles()
    warnings.formatwarning = lambda message, *_, **__: f"Warning: {one_line(message)}\n"
    try:
        main()
    except BaseException as error:
        # Where it is raised in an `except:` of a library, some other error may come out.
        if received:
            _end(received[0], afterwards)
        if isinstance(error, (ValueError, OSError, ImportError)):
            sys.exit(f"error: {with_options(one_line(error))}")
        raise
    if received:  # swallowed, and `main` has ended nevertheless
        _end(received[0], afterwards)


def _end(number, afterwards):
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
    for other in _WORDS:
        signal.signal(other, signal.SIG_IGN)
    print(f"\n{_WORDS[number]}. {afterwards}".rstrip(), file=sys.stderr, flush=True)
    sys.exit(128 + number)


def with_options(text):
    """An error's text with the option in place of the argument that it stands for."""
    return text.replace("Argument `source`", "--data")


def one_line(error):
    """What an exception says, in one line."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__

"""How a recipe runs as a command, and ends when it is interrupted: with one line."""

import signal
import sys

ON_RESUME = "The same command with --resume goes on at the last finished epoch."


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which batch systems and `timeout` send, unwinds as Ctrl-C does."""


def run(main, afterwards=""):
    """Call a recipe's `main`, for its last line: `if __name__ == "__main__": run(main)`.

    Ctrl-C (SIGINT) and SIGTERM end the process with one line and the exit status that a shell
    expects, 130 and 143. Whatever is being written then is whole or not there.

    Args:
        main: function without arguments.
        afterwards: how to go on after an interruption, such as `ON_RESUME`; said in that line.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        main()
    except KeyboardInterrupt as interruption:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would interrupt the clean-up
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        number = signal.SIGTERM if isinstance(interruption, _Terminated) else signal.SIGINT
        word = "Terminated" if number == signal.SIGTERM else "Interrupted"
        print(f"\n{word}. {afterwards}".rstrip(), file=sys.stderr, flush=True)
        sys.exit(128 + number)


def _terminate(number, frame):
    raise _Terminated

"""How a recipe runs as a command, and ends when it is interrupted: with one line."""

import signal
import sys

ON_RESUME = "The same command with --resume goes on at the last finished epoch."

_WORDS = {signal.SIGINT: "Interrupted", signal.SIGTERM: "Terminated"}
_AGAIN = 5.0  # seconds


def run(main, afterwards=""):
    """Call a recipe's `main`, for its last line: `if __name__ == "__main__": run(main)`.

    Ctrl-C (SIGINT) and SIGTERM, which batch systems and `timeout` send, end the process with one
    line and the exit status that a shell expects, 130 and 143. Whatever is being written then is
    whole or not there.

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
    try:
        main()
    except BaseException:
        # Where it is raised in an `except:` of a library, some other error may come out.
        if not received:
            raise
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number in _WORDS:
            signal.signal(number, signal.SIG_IGN)
        print(f"\n{_WORDS[received[0]]}. {afterwards}".rstrip(), file=sys.stderr, flush=True)
        sys.exit(128 + received[0])

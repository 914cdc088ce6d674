"""What a data set leaves out, and why: one line for all of it."""

from collections import defaultdict


class LeftOut:
    """Names of what is left out by the reason, each once, and remarks; `str` is the line."""

    def __init__(self):
        self._names = defaultdict(dict)
        self._remarks = []

    def add(self, names_by_reason, remarks=()):
        """Remembers a dict of lists of names, and sentences."""
        for reason, names in names_by_reason.items():
            self._names[reason].update(dict.fromkeys(names))
        self._remarks += remarks

    def __str__(self):
        counts = [_count(reason, list(names)) for reason, names in self._names.items() if names]
        left_out = [f"Left out: {'; '.join(counts)}."] if counts else []
        return " ".join(left_out + self._remarks)


def _count(reason, names):
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {reason} ({shown})"

"""Saying that a finished result of other settings is replaced."""

import json
from pathlib import Path


def say_what_is_replaced(path, facts, key="facts"):
    """Print one line if the results at `path` were made with other settings than `facts`.

    Args:
        path: a JSON file of a dict whose `key` holds settings as text; it may be missing.
        facts: dict of the settings of the results that come in its place; None for what need not
            be the same.
    """
    path = Path(path)
    if not path.exists():
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))[key]
        changed = [
            f"{name.replace('_', ' ')} {before.get(name)}"
            for name, value in facts.items()
            if value is not None and name != "warning" and before.get(name) != value
        ]
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        print(f"{path} is damaged, and is written anew.")
        return
    if changed:
        print(f"The results in {path.parent} are replaced; they were made with "
              f"{', '.join(changed)}.")  # fmt: skip

"""What a recipe knows for the model card of its preset."""

import re
import shlex
import sys

_SCENES = "Procedural scenes, which the package draws (`scenes`)"
_SCENES_LICENSE = "None is needed: no pictures of others are in them"
# A path from the root or the home folder, alone or behind "folder:" or "--output=", but no "//".
_FOLDERS = re.compile(r"(^|[:=\s])(?:~?[/\\]|[A-Za-z]:[/\\])(?![/\\])(?:[^/\\]*[/\\])*(?=[^/\\])")


def recipe_card(command, data, count=None, results=None):
    """A dict as `save_to_preset` takes it.

    Args:
        command: `command_line`.
        data: the option --data.
        count: images of it at most, or None.
        results: dict of numbers by name.
    """
    import keras

    described = _SCENES if data == "scenes" else f"`{without_folders(data)}`"
    if count is not None:
        described += f", the first {count:,} at most"
    numbers = {name.replace("_", " "): value for name, value in (results or {}).items()}
    return {
        "data": described,
        "data_license": _SCENES_LICENSE if data == "scenes" else None,
        "results": {f"{name}, held-out data": v for name, v in numbers.items()} or None,
        "command": f"KERAS_BACKEND={keras.backend.backend()} {command}",
    }


def command_line(recipe, arguments=None):
    """The command of a run, without folders of the machine that it ran on.

    Args:
        recipe: name of the file.
        arguments: list of them, or None for this process's.
    """
    words = sys.argv[1:] if arguments is None else arguments
    words = [without_folders(word) for word in words if word not in ("--resume", "--overwrite")]
    return shlex.join(["python", f"recipes/{recipe}.py", *words])


def without_folders(word):
    """An argument with the last part alone of a path that does not start here."""
    return _FOLDERS.sub(r"\1", word).rstrip("/\\")

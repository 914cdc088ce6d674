"""Names for the folders of presets' results: readable, and never shared by two presets."""

import hashlib
import re
from pathlib import Path


def preset_folders(presets):
    """{preset: folder name}, each preset once.

    A built-in name stands for itself. Of a directory or a handle, the name has its letters and a
    digest of where it is: runs/a/preset and runs_a/preset have different ones, runs/a/preset and
    runs/a/preset/ the same.
    """
    folders = {}
    for preset in presets:
        name = folder_name(preset)
        if name not in folders.values():
            folders[preset] = name
    return folders


def folder_name(preset):
    words = re.sub(r"[^\w.-]+", "_", preset).strip("._-")[-80:]
    if words == preset and not Path(preset).is_dir():
        return words
    place = preset if "://" in preset else str(Path(preset).resolve())
    return f"{words or 'preset'}-{hashlib.sha256(place.encode()).hexdigest()[:8]}".lstrip("-")

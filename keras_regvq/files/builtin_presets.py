"""The presets that come with the package, and where any preset is."""

import warnings
from pathlib import Path

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.preset_files import check_path

BUILTIN_DIRECTORY = Path(__file__).parent.parent / "presets" / "builtin"
"""Folder of the presets that come with the package."""


def builtin_presets():
    """Names of the presets that come with the package.

    Example:
        ```python
        "regvq_scenes_64" in keras_regvq.presets.builtin_presets()  # True
        ```
    """
    return sorted(path.parent.name for path in BUILTIN_DIRECTORY.glob("*/config.json"))


def locate(preset):
    """(what the preset is called, its directory or handle)."""
    expected = (
        f"a built-in preset ({', '.join(builtin_presets())}), an existing directory, or a handle "
        "such as hf://user/name"
    )
    name = check_path("preset", preset, expected)
    if "/" not in name and (BUILTIN_DIRECTORY / name / "config.json").is_file():
        if Path(name).is_dir() and Path(name).resolve() != (BUILTIN_DIRECTORY / name).resolve():
            warnings.warn(
                f"{name!r} is the built-in preset; the folder of that name here is './{name}'.",
                stacklevel=2,
            )
        return name, str(BUILTIN_DIRECTORY / name)
    if "://" not in name and not Path(name).is_dir():
        refuse("preset", repr(name), expected)
    return name, name

"""The one rule of what a preset is and how it is read, for the function and for each class."""

from pathlib import Path

import keras_regvq.models  # noqa: F401  registers the classes that presets name
from keras_regvq.checks.arguments import refuse
from keras_regvq.files.configs import read_config
from keras_regvq.files.preset_files import check_path
from keras_regvq.models.preset_loading import load_preset
from keras_regvq.presets import hub
from keras_regvq.presets.convert import foreign_format, load_foreign


def read_preset(cls, preset, load_weights=None, custom_objects=None, overrides=None):
    """Load a model of class `cls`; all else as `presets.from_preset` takes it.

    Raises:
        ValueError: naming both classes, for a preset of another one.
    """
    overrides = overrides or {}
    location = preset = check_path("preset", preset, "a built-in name, a directory or a handle")
    if preset.startswith(hub.PREFIX):
        location = hub.download(preset)
    if (Path(location) / "config.json").is_file():
        read_config(Path(location) / "config.json")  # damaged ones end here
    if foreign_format(location) is None:
        return load_preset(cls, preset, load_weights, custom_objects, overrides)
    if load_weights is False or set(overrides) - {"image_size", "config"}:
        given = sorted({*overrides, *(["load_weights"] if load_weights is False else [])})
        expected = "only image_size and config, for another project's file"
        refuse("overrides", ", ".join(given), expected)
    model = load_foreign(location, **overrides)[0]
    if not isinstance(model, cls):
        received = f"{preset!r}, which holds an {type(model).__name__}"
        refuse("preset", received, f"a preset of {cls.__name__}")
    return model

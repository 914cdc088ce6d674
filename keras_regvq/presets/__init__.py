"""Presets: whole models by name, from a directory or from a hub."""

import keras_regvq.models  # noqa: F401  registers the classes that presets name
from keras_regvq.models.preset_model import BUILTIN_DIRECTORY, Preset, builtin_presets

__all__ = ["BUILTIN_DIRECTORY", "builtin_presets", "from_preset"]


def from_preset(preset, load_weights=None, **overrides):
    """Load whatever a preset holds.

    Args:
        preset: a built-in name (see `builtin_presets()`), a directory written by
            `save_to_preset`, or a handle hf://user/name, kaggle://...
        load_weights: bool; by default True, but for built-in presets without weights.
        **overrides: constructor arguments that replace the preset's, e.g. `dtype="bfloat16"`.

    Returns:
        The model that was saved, e.g. a `keras_regvq.models.ImageTokenizer`.

    Raises:
        ValueError: for a preset that is unknown, damaged, or that names unknown classes.

    Example:
        tokenizer = keras_regvq.from_preset("runs/quickstart/preset")
        tokens = tokenizer.encode(images)
    """
    return Preset.from_preset(preset, load_weights, **overrides)

"""Models with presets, written and read by KerasHub, loading only what is safe."""

import json
import os
from pathlib import Path

import h5py
import keras
import keras_hub
from keras_hub.src.utils.preset_utils import get_preset_loader, get_preset_saver

from keras_regvq.validation import check_choice, refuse

BUILTIN_DIRECTORY = Path(__file__).parent.parent / "presets" / "builtin"

# What a config may name, besides keras_regvq's own registered classes: nothing here runs code
# that comes with a file (as keras.layers.Lambda would).
_SAFE_MODULES = ("keras", "keras.initializers")
_UNSAFE_NAMES = ("Lambda", "function")


class Preset:
    """Mixin: checks on what a model loads, and the built-in presets.

    KerasHub's saver writes a preset (config.json, model.weights.h5, metadata.json), and its
    loader reads it from a directory, hf://, kaggle:// or modelscope://.
    """

    @classmethod
    def from_preset(cls, preset, load_weights=None, **overrides):
        """Load a model from a preset.

        Args:
            preset: a built-in name (`keras_regvq.presets.builtin_presets()`), a directory, or a
                handle hf://user/name, kaggle://..., modelscope://...
            load_weights: bool; by default True, but for the built-in presets that are a
                configuration only.
            **overrides: constructor arguments that replace the preset's; `dtype`, such as
                "bfloat16", those of its parts, too.

        Returns:
            The model that the preset holds: an instance of `cls` or of a subclass.

        Raises:
            ValueError: for a preset that is unknown, damaged, of another class, or that names
                classes which could run code.
        """
        preset = str(preset)
        location = preset
        if "/" not in preset and (BUILTIN_DIRECTORY / preset / "config.json").is_file():
            location = str(BUILTIN_DIRECTORY / preset)
            if load_weights is None:
                load_weights = (BUILTIN_DIRECTORY / preset / "model.weights.h5").is_file()
        elif "://" not in preset and not Path(preset).is_dir():
            refuse(
                "preset",
                repr(preset),
                f"a built-in preset ({', '.join(builtin_presets())}), an existing directory, or a "
                "handle such as hf://user/name",
            )
        loader = _open_preset(preset, location)
        model_class = keras.saving.get_registered_object(loader.config["registered_name"])
        if model_class is None or not issubclass(model_class, cls):
            refuse(
                "preset",
                f"{preset!r}, which holds a {loader.config['registered_name']}",
                f"a preset of {cls.__name__}",
            )
        if "dtype" in overrides:
            _set_dtype(loader.config["config"], overrides["dtype"])
        try:
            model = loader.load_backbone(model_class, False, **overrides)
        except (TypeError, KeyError, AttributeError) as error:
            refuse(
                "preset",
                f"{preset!r} with overrides {sorted(overrides)}: {error}",
                f"a config.json that {model_class.__name__} was saved with, and overrides that "
                "its constructor takes",
            )
        if load_weights or load_weights is None:
            _load_weights(model, loader, preset)
        model.loaded_from(location)
        return model

    def loaded_from(self, location):
        """Called with where this model has been loaded from: a directory or a handle."""

    def save_to_preset(self, directory, weights_dtype="float32"):
        """Write config.json, metadata.json and model.weights.h5, without optimizer state.

        Args:
            directory: where to; made if missing.
            weights_dtype: "float32", or "float16" for a file of half the size: the model that
                loads it computes in its own dtypes, from rounded weights.
        """
        check_choice("weights_dtype", weights_dtype, ("float32", "float16"))
        get_preset_saver(str(directory)).save_backbone(self)
        path = Path(directory) / "model.weights.h5"
        if path.exists() and (self.compiled or weights_dtype == "float16"):
            _rewrite_weights(path, weights_dtype)


class PresetBackbone(Preset, keras_hub.models.Backbone):
    """A functional model with presets: a KerasHub Backbone."""


class PresetModel(Preset, keras.Model):
    """A subclassed model with presets; a Backbone would have to be functional.

    Its data are checked and cast by itself: Keras leaves them alone.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def compile_from_config(self, config):
        """Compile as a saved model was, the optimizer ready to have its state loaded."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }


def builtin_presets():
    """Names of the presets that come with the package."""
    return sorted(path.parent.name for path in BUILTIN_DIRECTORY.glob("*/config.json"))


def _open_preset(preset, location):
    """KerasHub's loader of a preset whose config.json has been checked."""
    try:
        loader = get_preset_loader(location)
        if "registered_name" not in loader.config:
            raise ValueError("config.json names no registered class")
    except (ValueError, TypeError, UnicodeDecodeError) as error:  # JSON errors are ValueErrors
        refuse("preset", f"{preset!r}: {error}", "a directory with a config.json that Keras wrote")
    _check_classes(preset, loader.config)
    return loader


def _check_classes(preset, config):
    """Refuse configs that name other classes than this package's, initializers and policies."""
    if isinstance(config, list):
        for value in config:
            _check_classes(preset, value)
    if not isinstance(config, dict):
        return
    if "class_name" in config:
        registered_name = str(config.get("registered_name"))
        own = registered_name.startswith("keras_regvq>")
        safe = config.get("module") in _SAFE_MODULES and config.get("registered_name") is None
        if not (own or safe) or config["class_name"] in _UNSAFE_NAMES:
            named = {key: config.get(key) for key in ("module", "class_name", "registered_name")}
            refuse(
                "preset",
                f"{preset!r}, whose config.json names {json.dumps(named)}",
                "classes of keras_regvq, Keras initializers and dtype policies only",
            )
    for value in config.values():
        _check_classes(preset, value)


def _set_dtype(config, dtype):
    """Give every part of a model's config that has a dtype policy this one."""
    for name, value in config.items():
        if name == "dtype":
            config[name] = dtype
        elif isinstance(value, dict):
            _set_dtype(value, dtype)


def _rewrite_weights(path, dtype):
    """Write a Keras weights file again, its floats in `dtype` and no optimizer state in it."""
    rewritten = path.with_suffix(".rewritten")

    def copy(name, item):
        if name.split("/")[0] == "optimizer":
            return
        if isinstance(item, h5py.Dataset):
            values = item[()]
            values = values.astype(dtype) if values.dtype == "float32" else values
            copied = target.create_dataset(name, data=values)
        else:
            copied = target.require_group(name)
        copied.attrs.update(item.attrs)

    with h5py.File(path) as source, h5py.File(rewritten, "w") as target:
        target.attrs.update(source.attrs)
        source.visititems(copy)
    os.replace(rewritten, path)


def _load_weights(model, loader, preset):
    try:
        loader._load_backbone_weights(model)
    except FileNotFoundError as error:
        refuse(
            "preset",
            f"{preset!r}, which has no weights ({error})",
            "a preset with model.weights.h5, or load_weights=False",
        )
    # h5py raises OSError for a damaged file, KeyError and ValueError for missing or misshapen
    # entries: all mean that the file does not belong to this config.
    except (OSError, KeyError, ValueError) as error:
        refuse(
            "preset",
            f"{preset!r}, whose weights cannot be read: {error}",
            f"a whole weights file that fits its config.json ({type(model).__name__})",
        )

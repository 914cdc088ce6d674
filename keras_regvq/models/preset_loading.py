"""Presets of this package's models, read so that only what is safe is loaded."""

import contextlib
import inspect

import keras

from keras_regvq.backend.layer_tree import all_layers, freeze
from keras_regvq.backend.weight_creation import undrawn_weights
from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.model_size import limited_size
from keras_regvq.files.builtin_presets import locate
from keras_regvq.files.configs import safe_config
from keras_regvq.files.keras_weights import load_weights as load_all_weights
from keras_regvq.files.keras_weights import sizes_in
from keras_regvq.files.preset_files import WEIGHTS, PresetFiles
from keras_regvq.models.preset_model import may_be_in_preset
from keras_regvq.models.quantized_layers import quantize_again

# What a model without weights to compare it with may have: 40 GB of float32.
_MAX_NUMBERS, _MAX_WEIGHTS = 10**10, 10**5


def load_preset(cls, preset, load_weights=None, custom_objects=None, overrides=None):
    """Load a model from a folder as `save_to_preset` writes it.

    Args:
        cls: the class that the preset's must be, or be a subclass of.
        preset, load_weights, custom_objects: as `presets.from_preset` takes them.
        overrides: dict of constructor arguments that replace the preset's.

    Raises:
        ValueError: for a preset that is unknown, damaged, of another class, that names classes
            or files which it may not name, or whose weights are not the model's.
        OSError: if a file cannot be opened or a hub not be reached.
    """
    overrides = overrides or {}
    name, location = locate(preset)
    files = PresetFiles(location)
    custom_objects = dict(custom_objects or {})
    saved = files.config()
    kind = saved.get("registered_name")
    model_class = custom_objects.get(kind) if isinstance(kind, str) else None
    if isinstance(kind, str) and model_class is None:
        model_class = keras.saving.get_registered_object(kind)
    if not inspect.isclass(model_class) or not issubclass(model_class, cls):
        received = f"{name!r}, whose config.json holds a {kind!r}"
        refuse("preset", received, f"a preset of {cls.__name__}, whose class is registered")
    try:
        config = safe_config(saved, may_be_in_preset, custom_objects)
    except ValueError as error:
        refuse("preset", f"{name!r}: {error}", "only classes that are safe to load")
    paths = [] if load_weights is False else files.weights()
    if not paths and (load_weights or load_weights is None and location == name):
        expected = f"a preset with {WEIGHTS}, or load_weights=False"
        refuse("preset", f"{name!r}, which has no weights", expected)
    for argument, part in overrides.items() if paths else ():
        if getattr(part, "weights", None):
            received = f"a {type(part).__name__} with weights, which the preset's would replace"
            refuse(argument, received, "one without, not built yet; or load_weights=False")
    config["quantization"] = saved.get("quantization")
    model = _build(model_class, config, paths, custom_objects, overrides, name)
    if paths:
        load_all_weights(model, paths, "preset")
    model.loaded_from(location)
    return model


def _build(model_class, config, paths, custom_objects, overrides, name):
    """The model of a config, no larger than its weights."""
    limit = _MAX_NUMBERS, _MAX_WEIGHTS
    if paths:
        numbers, arrays = sizes_in(paths, "preset")
        limit = 2 * numbers + 10_000, arrays + 1_000  # two int4 numbers are in one
    arguments = {**config["config"], "dtype": None}
    if "trainable" in arguments:  # a generator may have frozen the tokenizer that was saved
        arguments["trainable"] = True
    if "dtype" in overrides:
        _set_dtype(arguments, overrides["dtype"])
    try:
        arguments = model_class.with_overrides(arguments, overrides)
        with contextlib.ExitStack() as stack:
            stack.enter_context(keras.saving.custom_object_scope(custom_objects))
            stack.enter_context(limited_size(*limit))
            if paths:
                stack.enter_context(undrawn_weights())
            model = model_class.from_config(arguments)
        for layer in all_layers(model):
            if not layer.trainable:
                freeze(layer)
        quantize_again(model, config.get("quantization"))
    except ImportError:
        raise
    except Exception as error:  # a damaged config can fail anywhere inside Keras
        given = f" with overrides {sorted(overrides)}" if overrides else ""
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        expected = (
            f"a config.json that {model_class.__name__} was saved with, and overrides that its "
            "constructor takes"
        )
        refuse("preset", f"{name!r}{given}: {reason}", expected)
    return model


def _set_dtype(config, dtype):
    """Give every part of a model's config that has a dtype policy this one."""
    for name, value in config.items():
        if name == "dtype":
            config[name] = dtype
        elif isinstance(value, dict):
            _set_dtype(value, dtype)

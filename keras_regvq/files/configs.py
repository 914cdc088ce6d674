"""Configs read from disk: JSON within sane bounds, and only classes that are known to be harmless.

Keras finds a class by several rules from the three names that a config gives it, imports modules
on the way, and builds layers that hold code. Here each name is resolved once, to a class object
that is checked, and written back so that Keras can find no other.
"""

import inspect
import json
import math
import os

import keras

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.settings_files import read_json

_MAX_DEPTH, _MAX_INTEGER = 64, 2**31
_KERAS = {"keras", "keras_hub", "keras_cv", "keras_nlp", "keras_rs", "keras_tuner", "builtins"}
_SAFE_MODULES = ("keras", "keras.initializers", "keras.dtype_policies")
_EXPECTED = "a config.json that Keras wrote"


def read_config(path, argument="preset"):
    """The object in a JSON file of a model.

    Args:
        path: of a regular file.
        argument: how to call it in the error.

    Raises:
        ValueError: naming the file, if `settings_files.read_json` cannot read it, if it is nested
            too deeply, or has numbers that are no model's: NaN, Infinity, integers from 2^31 that
            are no seeds.
    """
    config = read_json(path, argument)
    try:
        _check_values(config)
    except ValueError as error:
        refuse(argument, f"{os.fspath(path)!r}, which cannot be read ({error})", _EXPECTED)
    return config


def _check_values(config):
    level, depth = [(None, config)], 0
    while level:
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deeply")
        deeper = []
        for key, value in level:
            if isinstance(value, dict):
                deeper += value.items()
            elif isinstance(value, list):
                deeper += [(key, item) for item in value]
            elif isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{key} is {value}")
            elif isinstance(value, int) and abs(value) >= _MAX_INTEGER:
                if not str(key).endswith("seed") or abs(value) >= 2**63:
                    raise ValueError(f"{key} is {value}")
        level, depth = deeper, depth + 1


def safe_config(config, allowed, custom_objects=None, to_be_given=False):
    """A copy of a config that names only allowed classes, and each in one way.

    What Keras builds and compiles with, and its shared objects, are left out.

    Args:
        config: what `read_config` gave, or a part of it.
        allowed: function of a class, which says whether a file may name it.
        custom_objects: {name: class} that the user has given: allowed, whatever they are.
        to_be_given: take it that the classes that nobody registered will be among these.

    Raises:
        ValueError: saying which names are not allowed.
    """
    if isinstance(config, (list, tuple)):
        return [safe_config(item, allowed, custom_objects, to_be_given) for item in config]
    if isinstance(config, str) and config in keras.saving.get_custom_objects():
        raise ValueError(f"it has {config!r}, a registered name, in place of a string")
    if not isinstance(config, dict):
        return config
    if not {"class_name", "registered_name"} & set(config):
        return {
            key: safe_config(value, allowed, custom_objects, to_be_given)
            for key, value in config.items()
        }
    names = {key: config.get(key) for key in ("module", "class_name", "registered_name")}
    inner = config.get("config")
    if not isinstance(inner, dict):
        raise ValueError(f"{json.dumps(names)} has {type(inner).__name__} as config, not a dict")
    found = _resolve(names, allowed, custom_objects or {}, to_be_given)
    return {**found, "config": safe_config(inner, allowed, custom_objects, to_be_given)}


def _resolve(names, allowed, custom_objects, to_be_given):
    """The names by which Keras finds the one class that these names stand for."""
    if not all(value is None or isinstance(value, str) for value in names.values()):
        raise ValueError(f"it names {json.dumps(names)}, which are not strings")
    registered, class_name = names["registered_name"], names["class_name"]
    for name in (registered, class_name):
        if name in custom_objects:
            return {"module": None, "class_name": name, "registered_name": name}
    registry = keras.saving.get_custom_objects()
    if registered in registry:
        found = registry[registered]
        named = class_name in (None, registered, getattr(found, "__name__", None))
        if named and inspect.isclass(found) and allowed(found):
            return {"module": None, "class_name": registered, "registered_name": registered}
    elif registered is None and names["module"] in _SAFE_MODULES:
        # In this order: a class has one public name, and that is the shortest.
        for module, place in zip(
            _SAFE_MODULES, (keras, keras.initializers, keras.dtype_policies), strict=True
        ):
            found = getattr(place, class_name or "", None)
            bases = keras.initializers.Initializer, keras.dtype_policies.DTypePolicy
            if inspect.isclass(found) and issubclass(found, bases):
                return {"module": module, "class_name": class_name, "registered_name": None}
    elif registered and str(names["module"]).split(".")[0] not in (*_KERAS, "keras_regvq"):
        if to_be_given and class_name not in ("function", None) and class_name[:2] != "__":
            return {**names}
        raise ValueError(
            f"it names {json.dumps(names)}, which is not registered: import the module that "
            f"registers it first, or give custom_objects={{{registered!r}: the class}}"
        )
    raise ValueError(
        f"it names {json.dumps(names)}, where only classes of keras_regvq that are parts of a "
        "preset, Keras initializers and dtype policies may stand, and classes of your own that are "
        "registered or in custom_objects"
    )


def package_of(cls):
    """The package that a class is registered in; None if it is not."""
    name = keras.saving.get_registered_name(cls)
    return name.split(">")[0] if ">" in name else None


def is_users_own(cls):
    """Whether a registered class is neither Keras's, nor of its family, nor this package's."""
    family = {*_KERAS, "keras_regvq"}
    return package_of(cls) not in family and cls.__module__.split(".")[0] not in family

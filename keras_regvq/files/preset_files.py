"""The files of a preset, on this disk or on a hub; the only module that uses keras_hub.src."""

import contextlib
import datetime
import json
import os
import re
from importlib.metadata import version
from pathlib import Path

import keras
import keras_hub
from keras_hub.src.utils.preset_utils import get_file, get_preset_saver

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.configs import package_of, read_config, safe_config
from keras_regvq.files.hdf5 import open_hdf5
from keras_regvq.files.keras_weights import weights_in_memory
from keras_regvq.files.preset_folder import current_folder

CONFIG, WEIGHTS, SHARDS = "config.json", "model.weights.h5", "model.weights.json"
_SHARD = re.compile(r"[\w-]+\.weights\.h5")
_MAX_SHARDS, _HF = 10_000, "hf://"


class PresetFiles:
    """Finds a preset's files, and fetches those of a hub.

    Args:
        location: a directory, or a handle hf://user/name, kaggle://..., modelscope://...
    """

    def __init__(self, location):
        self.location = str(location)
        self.is_remote = "://" in self.location

    def find(self, name):
        """Path of a file of the preset, or None if it has none of this name.

        Raises:
            OSError: naming the preset, if a hub cannot be reached.
            ValueError: naming it, for a handle that its hub does not take.
        """
        if not self.is_remote:
            path = current_folder(self.location) / name
            return path if path.is_file() else None
        with self._naming():
            try:
                return Path(get_file(self.location, name))
            except FileNotFoundError:
                return None

    @contextlib.contextmanager
    def _naming(self):
        """Around what asks a hub: its errors become one line that names the preset."""
        try:
            yield
        except (OSError, ValueError, ImportError) as error:
            kinds = (ImportError, ValueError)
            kind = next((kind for kind in kinds if isinstance(error, kind)), OSError)
            raise kind(f"{self.location}: {first_line(error)}") from error

    def folder(self, name):
        """Path of a folder inside the preset; one of hf:// is fetched.

        Raises:
            OSError, ValueError, ImportError: naming the preset, if it is not there, or cannot be
                fetched.
        """
        if not self.is_remote:
            path = current_folder(self.location) / name
        elif self.location.startswith(_HF):
            repository = self.location.removeprefix(_HF)
            with self._naming():
                from huggingface_hub import snapshot_download

                path = Path(snapshot_download(repository, allow_patterns=f"{name}/*")) / name
        else:
            refuse("preset", f"{self.location!r} with a folder", "hf://user/name, or a directory")
        if not path.is_dir():
            refuse("preset", f"{self.location!r} without {name}", "a preset with this folder")
        return path

    def config(self):
        """What config.json holds: see `configs.read_config`."""
        path = self.find(CONFIG)
        if path is None:
            refuse("preset", f"{self.location!r}, which has no {CONFIG}", "a preset's folder")
        return read_config(path)

    def weights(self):
        """Paths of model.weights.h5 or of its shards; none if the preset has no weights."""
        path = self.find(WEIGHTS)
        if path is not None:
            return [path]
        path = self.find(SHARDS)
        if path is None:
            return []
        names = set()
        for value in _dict(read_config(path).get("weight_map"), path).values():
            names.update(value if isinstance(value, list) else [value])
            if len(names) > _MAX_SHARDS:
                refuse("preset", f"{str(path)!r} with too many files", f"at most {_MAX_SHARDS}")
        paths = []
        for name in sorted(names, key=str):
            if not isinstance(name, str) or not _SHARD.fullmatch(name):
                refuse(
                    "preset", f"{str(path)!r}, which names {name!r}", "names of shards beside it"
                )
            paths.append(self.find(name))
            if paths[-1] is None:
                refuse("preset", f"{str(path)!r}, which names {name!r}", "a shard that is there")
        return paths


def _dict(value, path):
    if not isinstance(value, dict):
        refuse("preset", f"{str(path)!r} without a weight_map", "the file that goes with shards")
    return value


def first_line(error):
    """The first line of an error's text, not too long."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def write_config(config, folder):
    """Write config.json without what Keras builds and compiles with."""
    config = _without(config, {"compile_config", "build_config"})
    text = json.dumps(config, indent=4, allow_nan=False)
    (Path(folder) / CONFIG).write_text(text, encoding="utf-8")


def _without(value, keys):
    if isinstance(value, (list, tuple)):
        return [_without(item, keys) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _without(item, keys) for key, item in value.items() if key not in keys}


def write_metadata(model, folder):
    """Write metadata.json as KerasHub has it."""
    metadata = {
        "keras_version": keras.version(),
        "keras_hub_version": version("keras-hub"),
        "parameter_count": model.count_params(),
        "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
        "tasks": [],
    }
    (Path(folder) / "metadata.json").write_text(json.dumps(metadata, indent=4))


def write_hub_model(backbone, tokenizer, folder):
    """Write a KerasHub backbone and its tokenizer to a new folder, as their `save_to_preset`."""
    saver = get_preset_saver(str(folder))  # makes it
    saver._save_serialized_object(backbone, CONFIG)
    saver._save_metadata(backbone)
    (Path(folder) / WEIGHTS).write_bytes(weights_in_memory(backbone))
    tokenizer.save_to_preset(str(folder))


def load_hub_model(cls, preset, argument, expected):
    """`cls.from_preset(preset)` of a class of KerasHub; a local folder is checked first.

    Args:
        cls: a Backbone or Tokenizer.
        preset: a name, folder or handle that KerasHub takes.
        argument: how to call it in the error.
        expected: what is expected, in words.

    Raises:
        ValueError: naming the preset, if it is another's, damaged, or not safe to read.
        OSError: naming it, in one line, if it cannot be downloaded.
    """
    if os.path.isdir(preset):
        _check_hub_folder(Path(preset), argument)
    try:
        return cls.from_preset(preset)
    except Exception as error:  # each hub has errors of its own
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(
            f"Argument `{argument}` is wrong. Received: the preset {preset!r}, which cannot be "
            f"loaded ({first_line(error)}). Expected: {expected}."
        ) from error


def _check_hub_folder(folder, argument):
    """Refuse configs that name other classes than KerasHub's models, and unsafe weights files."""
    for path in (folder / CONFIG, folder / "tokenizer.json"):
        if not path.is_file():
            continue
        config = read_config(path, argument)
        if "registered_name" not in config:
            break  # of transformers, which KerasHub reads by rules of its own
        try:
            safe_config(config, _is_of_hub)
            _check_assets(config)
        except ValueError as error:
            refuse(argument, f"{str(path)!r}: {error}", "a model of KerasHub")
    for path in sorted(folder.glob("*.h5")):
        with open_hdf5(path, argument):
            pass


def _is_of_hub(cls):
    bases = keras_hub.models.Backbone, keras_hub.models.Tokenizer
    return package_of(cls) == "keras_hub" and issubclass(cls, bases)


def _check_assets(config):
    """Refuse tokenizers that would read a file that their config names."""
    if isinstance(config, list):
        for item in config:
            _check_assets(item)
    if isinstance(config, dict):
        for key, value in config.items():
            if key in ("vocabulary", "merges", "proto") and isinstance(value, str):
                raise ValueError(f"its {key} is {value!r}, where no file may be named")
            _check_assets(value)


def check_path(argument, value, expected):
    """Return a path or handle, a string or os.PathLike of one, as a string."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        refuse(argument, f"{value!r} of type {type(value).__name__}", expected)
    path = os.fspath(value)
    if not path or "\0" in path:
        refuse(argument, repr(path), expected)
    return path

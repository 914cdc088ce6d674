"""Reg-VQ image tokenizers, the quantizers they are compared with, and how to train them.

Importing the package is cheap: a subpackage (and with it keras, keras_hub or TensorFlow) is
imported when it is first used.

    import keras_regvq
    tokenizer = keras_regvq.from_preset("my_tokenizer")
    tokens = tokenizer.encode(images)
"""

import importlib

from keras_regvq.backend.freed_memory import keep_freed_memory
from keras_regvq.backend.jax_environment import use_xlas_own_convolutions
from keras_regvq.backend.missing import naming_what_is_missing
from keras_regvq.backend.tensorflow_logs import quiet_tensorflow_as_a_helper
from keras_regvq.files.preset_reader import set_preset_reader
from keras_regvq.version import __version__

quiet_tensorflow_as_a_helper()
use_xlas_own_convolutions()
keep_freed_memory()

_SUBPACKAGES = ("data", "losses", "metrics", "models", "presets", "quantizers", "tokenizing")
_SUBPACKAGES += ("training",)

__all__ = ["__version__", "from_preset", *_SUBPACKAGES]


def from_preset(preset, load_weights=None, custom_objects=None, **overrides):
    """Load whatever a preset holds: see `keras_regvq.presets.from_preset`.

    Example:
        ```python
        tokenizer = keras_regvq.from_preset("regvq_scenes_64")
        tokens = tokenizer.encode(images)  # int32 (4, 16, 16)
        decoded = tokenizer.decode(tokens)  # float32 (4, 64, 64, 3)
        ```
    """
    with naming_what_is_missing():
        from keras_regvq import presets

    return presets.from_preset(preset, load_weights, custom_objects, **overrides)


def _read_preset(*arguments):
    from keras_regvq.presets.reading import read_preset

    return read_preset(*arguments)


set_preset_reader(_read_preset)


def __getattr__(name):
    if name in (*_SUBPACKAGES, "pictures"):
        with naming_what_is_missing():
            return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)

"""Models with presets: what they are, and how they are written."""

from pathlib import Path

import keras
import keras_hub
import numpy as np

from keras_regvq.checks.arguments import check_choice, refuse
from keras_regvq.checks.finite import is_finite
from keras_regvq.files.configs import is_users_own, package_of, safe_config
from keras_regvq.files.keras_weights import weights_in_memory
from keras_regvq.files.model_card import CARD, card_text, check_card, may_replace_card
from keras_regvq.files.preset_files import CONFIG, WEIGHTS, check_path, write_config, write_metadata
from keras_regvq.files.preset_folder import replacing_preset
from keras_regvq.files.preset_reader import read_preset
from keras_regvq.files.replacing import final_name, write_text
from keras_regvq.models.card_facts import card_facts
from keras_regvq.models.conditions.condition import Condition
from keras_regvq.models.priors.diffusion.process import Process
from keras_regvq.models.quantized_layers import quantized_layers
from keras_regvq.models.text_encoders.text_encoder import TextEncoder
from keras_regvq.quantizers import Quantizer


class Preset:
    """Mixin: saving and loading, and the built-in presets.

    A preset is a folder as KerasHub writes it: config.json, model.weights.h5 and metadata.json,
    and a model card. It is read from a directory, hf://, kaggle:// or modelscope://.
    """

    @classmethod
    def from_preset(cls, preset, load_weights=None, custom_objects=None, **overrides):
        """Load a model of this class: `keras_regvq.from_preset` of what must be one.

        Args:
            preset, load_weights, custom_objects, **overrides: as `keras_regvq.from_preset` takes
                them: built-in names, directories, hubs' handles, and other projects' checkpoints.

        Returns:
            The model that the preset holds: an instance of `cls` or of a subclass.

        Raises:
            ValueError: for a preset that holds another class, and as `keras_regvq.from_preset`.
            OSError: if a file cannot be opened or a hub not be reached.
        """
        return read_preset(cls, preset, load_weights, custom_objects, overrides)

    @classmethod
    def with_overrides(cls, config, overrides):
        """The constructor arguments of a config, some of them replaced."""
        return {**config, **overrides}

    def loaded_from(self, location):
        """Called with where this model has been loaded from: a directory or a handle."""

    def save_to_preset(self, directory, weights_dtype="float32", card=None):
        """Write config.json, metadata.json, model.weights.h5 and README.md, no optimizer state.

        A preset that is there is replaced, as a whole or not at all, even if the process is killed;
        other files in the folder stay. README.md is a model card: what the model is, how it is
        loaded, and what `card` says. One that you wrote stays: only such a card is replaced, known
        by a line of its front matter, which you delete to make it yours.

        Args:
            directory: where to; made if missing.
            weights_dtype: "float32", or "float16" for a file of half the size: the model that
                loads it computes in its own dtypes, from rounded weights.
            card: None, or a dict of what is known of the training. Texts: "description",
                "data", "data_license", "license" (of the weights, such as "apache-2.0") and
                "command"; and "results", a dict of names and numbers.

        Raises:
            ValueError: for weights that are not finite (or not in float16), for a model with
                parts that could not be loaded again, and for an unknown entry of `card`.
            OSError: naming the directory, such as for a full disk.
        """
        directory = _check_directory(directory)
        check_choice("weights_dtype", weights_dtype, ("float32", "float16"))
        card = check_card(card)
        _check_finite(self, weights_dtype)
        quantized = quantized_layers(self)
        try:
            config = self.preset_config()
            safe_config(config, may_be_in_preset, to_be_given=True)
        except (ValueError, TypeError, OSError) as error:  # Keras looks for the source of a lambda
            expected = "a model that could be loaded from a preset again"
            refuse("model", f"a {type(self).__name__} to be saved: {error}", expected)
        if quantized:
            config["quantization"] = quantized
        floats = None if weights_dtype == "float32" else weights_dtype
        text = self._card_text(directory, card)
        with replacing_preset(directory) as folder:
            write_config(config, folder)
            write_metadata(self, folder)
            (folder / WEIGHTS).write_bytes(weights_in_memory(self, floats, compiled=False))
            (folder / CARD).write_text(text, encoding="utf-8")
            self.write_parts(folder)

    def write_card(self, directory, card=None):
        """Write the model card of a preset anew, for what has been measured since it was saved.

        Args:
            directory: that `save_to_preset` has written this model to.
            card: as `save_to_preset` takes it. A README.md that you wrote stays.

        Raises:
            ValueError: for a directory without a preset, and as `save_to_preset`.
            OSError: naming the file, such as for a full disk.
        """
        directory, card = _check_directory(directory), check_card(card)
        if not (Path(directory) / CONFIG).is_file():
            refuse("directory", repr(directory), f"a preset's folder, with {CONFIG}")
        if may_replace_card(Path(directory) / CARD):
            write_text(Path(directory) / CARD, self._card_text(directory, card))

    def _card_text(self, directory, card):
        return card_text(card_facts(self), final_name(directory), card)

    def preset_config(self):
        """What config.json is to hold: the config as Keras serializes it."""
        return keras.saving.serialize_keras_object(self)

    def write_parts(self, folder):
        """Write what belongs to the preset besides config and weights, into its new folder."""


class PresetBackbone(Preset, keras_hub.models.Backbone):
    """A functional model with presets: a KerasHub Backbone."""

    def _run_through_graph(self, inputs, *args, **kwargs):
        # `clone_model` would make a bare Functional of it; once built, it alone gives a call_fn.
        if "call_fn" in kwargs and hasattr(self, "_initialized"):
            expected = "`type(model).from_config(model.get_config())`, and set_weights"
            refuse("model", f"a {type(self).__name__} for clone_model", expected)
        return super()._run_through_graph(inputs, *args, **kwargs)


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


def may_be_in_preset(cls):
    """Whether a registered class may be named by a preset's config."""
    parts = (Preset, Quantizer, Condition, Process, TextEncoder)
    if package_of(cls) == "keras_regvq":
        return issubclass(cls, parts)
    bases = (*parts, keras.layers.Layer, keras.initializers.Initializer)
    return is_users_own(cls) and issubclass(cls, bases)


def _check_directory(directory):
    directory = check_path("directory", directory, "a path")
    if "://" in directory:
        refuse("directory", repr(directory), "a path on this machine")
    return directory


def _check_finite(model, dtype):
    """Refuse weights that are NaN or infinite, or would be as `dtype`."""
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(weight)
        if not is_finite(values):
            refuse("model", f"weights {weight.path!r} that are not finite", "finite weights")
        if values.dtype != "float32" or dtype == "float32":
            continue  # written as it is
        with np.errstate(over="ignore"):  # which is what this looks for
            rounded = values.astype(dtype)
        if not is_finite(rounded):
            received = f"{dtype}, for weights {weight.path!r} up to {abs(values).max():.3g}"
            refuse("weights_dtype", received, "float32")

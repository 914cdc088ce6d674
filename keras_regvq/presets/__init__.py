"""Presets: whole models by name, from a directory, a hub, or another project's checkpoint."""

from keras_regvq.files.builtin_presets import BUILTIN_DIRECTORY, builtin_presets
from keras_regvq.models.preset_model import Preset
from keras_regvq.presets.convert import export, foreign_format, load_foreign
from keras_regvq.presets.formats.net2net import load_net2net
from keras_regvq.presets.reading import read_preset
from keras_regvq.presets.upload import upload_preset

__all__ = [
    "BUILTIN_DIRECTORY",
    "builtin_presets",
    "export",
    "foreign_format",
    "from_preset",
    "load_foreign",
    "load_net2net",
    "upload_preset",
]


def from_preset(preset, load_weights=None, custom_objects=None, **overrides):
    """Load whatever a preset holds.

    Args:
        preset: a built-in name (see `builtin_presets()`), a directory written by
            `save_to_preset`, or a handle hf://user/name, kaggle://...; or another project's
            tokenizer (`load_foreign`): a folder of diffusers' VQModel or of open-muse's
            MaskGitVQGAN, or a checkpoint of taming-transformers, LlamaGen or SEED-Voken; also
            hf://user/name/folder and hf://user/name/file.ckpt.
        load_weights: bool; by default True, but for built-in presets without weights.
        custom_objects: {name: class} of classes of your own that the preset holds; those that are
            registered with Keras are found without.
        **overrides: constructor arguments that replace the preset's, e.g. `dtype="bfloat16"`. Of
            other projects' only `image_size` and `config`, the YAML file of a checkpoint of
            taming-transformers or SEED-Voken.

    Returns:
        The model that was saved, e.g. a `keras_regvq.models.ImageTokenizer`.

    Raises:
        ValueError: for a preset that is unknown, damaged, or that names classes or files which it
            may not name.
        OSError: if a file cannot be opened or a hub not be reached.

    Example:
        ```python
        tokenizer = keras_regvq.presets.from_preset("regvq_scenes_64")
        tokens = tokenizer.encode(images)  # int32 (4, 16, 16)
        tokenizer.save_to_preset("my_tokenizer")
        again = keras_regvq.presets.from_preset("my_tokenizer", dtype="bfloat16")
        ```
    """
    return read_preset(Preset, preset, load_weights, custom_objects, overrides)

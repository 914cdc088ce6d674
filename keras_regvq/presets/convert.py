"""Tokenizers of other projects: finding out whose a file or folder is, loading and writing it."""

from pathlib import Path

from keras_regvq.checks.arguments import check_choice, refuse
from keras_regvq.presets.formats.checkpoint_format import SUFFIXES, Checkpoint
from keras_regvq.presets.formats.diffusers import Diffusers
from keras_regvq.presets.formats.llamagen import LlamaGen
from keras_regvq.presets.formats.open_muse import OpenMuse
from keras_regvq.presets.formats.refused import REFUSED
from keras_regvq.presets.formats.seed_voken import SeedVoken
from keras_regvq.presets.formats.state_dicts import refuse_without_tokenizer
from keras_regvq.presets.formats.taming import Taming

# The first that matches is taken; Taming matches whatever has a tokenizer of VQ-GAN's names.
FORMATS = (
    Diffusers(),
    OpenMuse(),
    LlamaGen(),
    SeedVoken(),
    Taming(),
)


def foreign_format(location):
    """Whether `from_preset` takes a path for another project's.

    Args:
        location: a path.

    Returns:
        "checkpoint" for a file of tensors, the name of its format for a folder of another project
        ("diffusers": a VQModel's, or that of a pipeline with one; "open_muse"), else None.

    Example:
        ```python
        quantizer = keras_regvq.quantizers.VectorQuantizer(codebook_size=64, embedding_dim=8)
        tokenizer = keras_regvq.models.ImageTokenizer(
            32, quantizer, base_channels=32, channel_multipliers=(1, 1), num_res_blocks=1
        )
        path = keras_regvq.presets.export(tokenizer, "for_diffusers", format="diffusers")
        keras_regvq.presets.foreign_format(path.parent)  # "diffusers"
        ```
    """
    checkpoint = Checkpoint(location)
    if checkpoint.is_file:
        return "checkpoint"
    found = _find_format(checkpoint)
    return found and found.name


def _find_format(checkpoint):
    return next((one for one in (*REFUSED, *FORMATS) if one.matches(checkpoint)), None)


def load_foreign(location, image_size=None, config=None):
    """Load a tokenizer of another project.

    Args:
        location: a folder of diffusers' VQModel, or of a pipeline with one, or of open-muse's
            MaskGitVQGAN; or a checkpoint of the latter, of taming-transformers (VQ-GAN, Gumbel-VQ,
            or a Net2Net with its tokenizer), of LlamaGen or of SEED-Voken (IBQ): `.ckpt`, `.pth`,
            `.pth.tar`, `.pt`, `.bin`, `.pkl` or `.safetensors`. A pickle is never executed:
            `files.torch_pickle`.
        image_size: int or (H, W) the tokenizer is for; default what the config says, or 16 tokens
            a side. Weights do not depend on it.
        config: path of the YAML file of a checkpoint of taming-transformers or SEED-Voken, where
            there is one. An IBQ without its averaged weights is known by nothing else.

    Returns:
        the ImageTokenizer, the name of its project, and the names of the tensors that were left
        aside.

    Raises:
        ValueError: for a file or folder of another kind, a damaged one, one of a network that an
            ImageTokenizer cannot express, such as Open-MAGVIT2's and VAR's, and for tensors that
            are missing, left over, misshapen or not finite; nothing is half-loaded.

    Example:
        ```python
        quantizer = keras_regvq.quantizers.VectorQuantizer(codebook_size=64, embedding_dim=8)
        tokenizer = keras_regvq.models.ImageTokenizer(
            32, quantizer, base_channels=32, channel_multipliers=(1, 1), num_res_blocks=1
        )
        path = keras_regvq.presets.export(tokenizer, "for_taming", format="taming")
        again, project, left_aside = keras_regvq.presets.load_foreign(path, image_size=32)
        project  # "taming"
        bool((again.encode(images) == tokenizer.encode(images)).all())  # True
        ```
    """
    checkpoint = Checkpoint(location, config)
    found = _find_format(checkpoint)
    if found is None and checkpoint.is_file:
        refuse_without_tokenizer(checkpoint.contents, checkpoint.source)
    if found is None:
        expected = "a folder of diffusers' VQModel or open-muse's MaskGitVQGAN, or a file that ends"
        refuse("preset", checkpoint.source, f"{expected} in {', '.join(SUFFIXES)}")
    if config is not None and not found.takes_config:
        expected = f"None: {checkpoint.source} is not of taming-transformers or SEED-Voken"
        refuse("config", repr(str(config)), expected)
    tokenizer, ignored = found.load(checkpoint, image_size, config)
    return tokenizer, found.name, ignored


def export(tokenizer, directory, format):
    """Write a tokenizer so that another project reads it.

    Args:
        tokenizer: an ImageTokenizer with a VectorQuantizer; for "taming" also with a
            GumbelQuantizer or a RegularizedQuantizer, which becomes a Gumbel-VQ of the same tokens
            and images; for "seed_voken" with an IndexBackpropagationQuantizer. For "open_muse" it
            must have come from there: its network has fewer weights than a VQ-GAN's.
        directory: made if missing. "diffusers" writes config.json and
            diffusion_pytorch_model.safetensors, "open_muse" config.json and model.safetensors, the
            others model.safetensors, a state dict.
        format: "diffusers", "taming", "llamagen" (for codes of length 1), "open_muse" (MaskGIT's)
            or "seed_voken" (IBQ).

    Returns:
        Path of the file with the weights.

    Raises:
        ValueError: for a tokenizer that the project cannot represent.
        OSError: naming the file, such as for a full disk; what was there stays.

    Example:
        ```python
        quantizer = keras_regvq.quantizers.VectorQuantizer(codebook_size=64, embedding_dim=8)
        tokenizer = keras_regvq.models.ImageTokenizer(
            32, quantizer, base_channels=32, channel_multipliers=(1, 1), num_res_blocks=1
        )
        path = keras_regvq.presets.export(tokenizer, "for_taming", format="taming")
        path.name  # "model.safetensors"
        ```
    """
    check_choice("format", format, tuple(one.name for one in FORMATS))
    if tokenizer.image_channels != 3:
        received = f"one for images of {tokenizer.image_channels} channels"
        refuse("tokenizer", received, "3 channels, which is all that these projects read")
    chosen = next(one for one in FORMATS if one.name == format)
    return chosen.save(tokenizer, Path(directory))

"""Other projects' tokenizers: which project a file or folder is of, and loading and writing it."""

from pathlib import Path

from keras_regvq.checks.arguments import check_choice, refuse
from keras_regvq.files.safetensors_files import read_safetensors, write_safetensors
from keras_regvq.files.torch_pickle import read_torch_file
from keras_regvq.presets.formats import diffusers, llamagen, taming
from keras_regvq.presets.formats.diffusers_folder import WEIGHTS, find_folder

# In upper case, too, and with ".tar" behind: archives in name only.
SUFFIXES = (".ckpt", ".pth", ".pt", ".bin", ".pkl", ".safetensors")
FORMATS = ("diffusers", "taming", "llamagen")


def foreign_format(location):
    """ "diffusers" for a folder of a VQModel or of a pipeline with one, "checkpoint" for a file of
    tensors, else None."""
    path = Path(location)
    if path.is_file() and path.name.lower().removesuffix(".tar").endswith(SUFFIXES):
        return "checkpoint"
    if path.is_dir() and find_folder(path) is not None:
        return "diffusers"
    return None


def read_checkpoint(location):
    """What a file of tensors holds: usually a state dict, or a dict with one as "state_dict"."""
    if str(location).lower().endswith(".safetensors"):
        return read_safetensors(location)
    return read_torch_file(location)


def load_foreign(location, image_size=None, config=None):
    """Load a tokenizer of another project.

    Args:
        location: a folder of diffusers' VQModel, or of a pipeline with one; or a checkpoint of
            taming-transformers (VQ-GAN, Gumbel-VQ, or a Net2Net with its tokenizer) or of
            LlamaGen: `.ckpt`, `.pth`, `.pth.tar`, `.pt`, `.bin`, `.pkl` or `.safetensors`. A pickle
            is never executed: `files.torch_pickle`.
        image_size: int or (H, W) the tokenizer is for; default what the config says, or 16 tokens
            a side. Weights do not depend on it.
        config: path of the YAML file of a taming-transformers checkpoint, where there is one.

    Returns:
        the ImageTokenizer, the name of its project, and the names of the tensors that were left
        aside.

    Raises:
        ValueError: for a file or folder of another kind, a damaged one, and for tensors that are
            missing, left over, misshapen or not finite; nothing is half-loaded.
    """
    source, kind = repr(str(location)), foreign_format(location)
    if kind is None:
        expected = f"a folder of diffusers' VQModel, or a file that ends in {', '.join(SUFFIXES)}"
        refuse("preset", source, expected)
    checkpoint = read_checkpoint(location) if kind == "checkpoint" else None
    if checkpoint is not None and not llamagen.is_llamagen(checkpoint):
        tokenizer, ignored = taming.load_taming(checkpoint, source, image_size, config)
        return tokenizer, "taming", ignored
    if config is not None:
        refuse("config", repr(str(config)), f"None: {source} is not of taming-transformers")
    if kind == "diffusers":
        tokenizer, ignored = diffusers.load_folder(find_folder(location), image_size=image_size)
        return tokenizer, "diffusers", ignored
    tokenizer, ignored = llamagen.load_llamagen(checkpoint, source, image_size)
    return tokenizer, "llamagen", ignored


def export(tokenizer, directory, format):
    """Write a tokenizer so that another project reads it.

    Args:
        tokenizer: an ImageTokenizer with a VectorQuantizer or, for "taming", a GumbelQuantizer or a
            RegularizedQuantizer, which becomes a Gumbel-VQ of the same tokens and images.
        directory: made if missing. "diffusers" writes config.json and
            diffusion_pytorch_model.safetensors, the others model.safetensors, a state dict.
        format: "diffusers", "taming" or "llamagen" (for codes of length 1).

    Returns:
        Path of the file with the weights.

    Raises:
        ValueError: for a tokenizer that the project cannot represent.
        OSError: naming the file, such as for a full disk; what was there stays.
    """
    check_choice("format", format, FORMATS)
    if tokenizer.image_channels != 3:
        received = f"one for images of {tokenizer.image_channels} channels"
        refuse("tokenizer", received, "3 channels, which is all that these projects read")
    directory = Path(directory)
    if format == "diffusers":
        diffusers.export_diffusers(tokenizer, directory)
        return directory / WEIGHTS
    make = taming.taming_state_dict if format == "taming" else llamagen.llamagen_state_dict
    path = directory / "model.safetensors"
    write_safetensors(make(tokenizer), path)
    return path

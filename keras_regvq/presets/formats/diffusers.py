"""diffusers' VQModel folders, both ways: config.json and diffusion_pytorch_model.safetensors."""

import json
import re
from pathlib import Path

import numpy as np

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.files.replacing import write_text
from keras_regvq.files.safetensors_files import write_safetensors
from keras_regvq.files.settings_files import read_json
from keras_regvq.files.updating import updating_directory
from keras_regvq.presets.formats.architecture import build_tokenizer, check_size
from keras_regvq.presets.formats.diffusers_config import make_config, read_architecture
from keras_regvq.presets.formats.diffusers_folder import CONFIG, WEIGHTS, read_weights
from keras_regvq.presets.formats.vqgan_names import assign_all, taming_tensors
from keras_regvq.quantizers import VectorQuantizer

_OLD_ATTENTION = {
    "query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0",
}  # fmt: skip
_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


def diffusers_name(name, levels):
    """taming's name of a tensor -> diffusers', for a model of so many levels."""
    if name.startswith(("quant_conv", "post_quant_conv", "quantize")):
        return name

    def up(match):  # counted in the order of running
        return f"decoder.up_blocks.{levels - 1 - int(match[1])}."

    name = re.sub(r"^decoder\.up\.(\d+)\.", up, name)
    name = re.sub(r"^encoder\.down\.(\d+)\.", r"encoder.down_blocks.\1.", name)
    name = re.sub(r"\.block\.(\d+)\.", r".resnets.\1.", name)
    name = re.sub(r"\.mid\.block_([12])\.", lambda m: f".mid_block.resnets.{int(m[1]) - 1}.", name)
    name = name.replace(".nin_shortcut.", ".conv_shortcut.").replace(
        ".norm_out.", ".conv_norm_out."
    )
    name = name.replace(".downsample.conv.", ".downsamplers.0.conv.")
    name = name.replace(".upsample.conv.", ".upsamplers.0.conv.")
    match = re.fullmatch(r"(.*)\.(?:attn\.(\d+)|mid\.attn_1)\.(\w+)\.(weight|bias)", name)
    if match:
        block, number, part, kind = match.groups()
        block = f"{block}.attentions.{number}" if number else f"{block}.mid_block.attentions.0"
        name = f"{block}.{_ATTENTION[part]}.{kind}"
    return name


def _diffusers_tensors(tokenizer):
    """What `taming_tensors` lists, by diffusers' names; attention is linear there."""
    levels = len(tokenizer.architecture["channel_multipliers"])
    found = []
    for tensor in taming_tensors(tokenizer):
        name = diffusers_name(tensor.name, levels)
        linear = ".attentions." in name and len(tensor.shape) == 4
        found.append((name, tensor, tensor.shape[:2] if linear else tensor.shape))
    return found


def load_diffusers(directory, load_weights=True, image_size=None):
    """Turn a diffusers VQModel folder into a tokenizer.

    Args:
        directory: with config.json and the weights (`diffusers_folder.read_weights`).
        load_weights: False: random weights.
        image_size: int or (H, W); default the config's sample_size.

    Returns:
        the ImageTokenizer.

    Raises:
        ValueError: for a config of another model or of a kind that is not supported, and for
            tensors that are missing, left over, misshapen or not finite; nothing is half-loaded.
    """
    return load_folder(directory, load_weights, image_size)[0]


def load_folder(directory, load_weights=True, image_size=None):
    """As `load_diffusers`; returns the tokenizer and the names of tensors that were left aside."""
    directory = Path(directory)
    source = repr(str(directory))
    architecture, sample_size = read_architecture(read_json(directory / CONFIG, "preset"), source)
    image_size = sample_size if image_size is None else image_size
    if not load_weights:
        return build_tokenizer(architecture, False, image_size), []
    tensors, ignored = read_weights(directory)
    tensors = {_current_name(name): value for name, value in tensors.items()}
    check_size(architecture, tensors, source)
    tokenizer = build_tokenizer(architecture, False, image_size)
    wanted = _diffusers_tensors(tokenizer)
    for name, tensor, shape in wanted:
        if name in tensors and tuple(tensors[name].shape) == shape:
            tensors[name] = tensors[name].reshape(tensor.shape)
    assign_all([t._replace(name=name) for name, t, _ in wanted], tensors, source)
    return tokenizer, ignored


def _current_name(name):
    """The name of today for that of a file from before diffusers 0.15."""
    match = re.fullmatch(r"(.*\.attentions\.\d+)\.(\w+)\.(weight|bias)", name)
    if match and match[2] in _OLD_ATTENTION:
        return f"{match[1]}.{_OLD_ATTENTION[match[2]]}.{match[3]}"
    return name


def export_diffusers(tokenizer, directory):
    """Write a tokenizer as a folder that diffusers' `VQModel.from_pretrained` reads.

    Args:
        tokenizer: an ImageTokenizer with a VectorQuantizer.
        directory: made if missing; both files in it are replaced as one.
    """
    if not isinstance(tokenizer.quantizer, VectorQuantizer):
        refuse("tokenizer", f"one with {describe(tokenizer.quantizer)}", "a VectorQuantizer")
    config = make_config(tokenizer)
    tensors = {
        name: np.ascontiguousarray(tensor.to_file().reshape(shape))
        for name, tensor, shape in _diffusers_tensors(tokenizer)
    }
    with updating_directory(directory, (CONFIG, WEIGHTS)) as part:
        write_text(part / CONFIG, json.dumps(config, indent=2) + "\n")
        write_safetensors(tensors, part / WEIGHTS)

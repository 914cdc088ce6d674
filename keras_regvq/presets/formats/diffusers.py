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
from keras_regvq.presets.formats.checkpoint_format import CheckpointFormat
from keras_regvq.presets.formats.diffusers_config import make_config, read_architecture
from keras_regvq.presets.formats.diffusers_folder import CONFIG, WEIGHTS, find_folder, read_weights
from keras_regvq.presets.formats.name_table import NameTable
from keras_regvq.presets.formats.named_tensors import assign_all
from keras_regvq.presets.formats.vqgan_names import taming_tensors
from keras_regvq.quantizers import VectorQuantizer

# taming's names, and diffusers'.
NAMES = NameTable(
    {
        "encoder.down.{level}.block.{block}.": "encoder.down_blocks.{level}.resnets.{block}.",
        "encoder.down.{level}.attn.{block}.": "encoder.down_blocks.{level}.attentions.{block}.",
        "encoder.down.{level}.downsample.": "encoder.down_blocks.{level}.downsamplers.0.",
        "{part}.mid.block_1.": "{part}.mid_block.resnets.0.",
        "{part}.mid.attn_1.": "{part}.mid_block.attentions.0.",
        "{part}.mid.block_2.": "{part}.mid_block.resnets.1.",
        "decoder.up.{level}.block.{block}.": "decoder.up_blocks.{turn}.resnets.{block}.",
        "decoder.up.{level}.attn.{block}.": "decoder.up_blocks.{turn}.attentions.{block}.",
        "decoder.up.{level}.upsample.": "decoder.up_blocks.{turn}.upsamplers.0.",
        "{part}.norm_out.": "{part}.conv_norm_out.",
    },
    {
        "nin_shortcut": "conv_shortcut",
        "norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0",
    },
)  # fmt: skip
_OLD_ATTENTION = {
    "query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0",
}  # fmt: skip


class Diffusers(CheckpointFormat):
    """Folders of a diffusers VQModel, or of a pipeline with one."""

    name = "diffusers"

    def matches(self, checkpoint):
        return checkpoint.path.is_dir() and find_folder(checkpoint.path) is not None

    def load(self, checkpoint, image_size=None, config=None):
        return load_diffusers(find_folder(checkpoint.path), image_size)

    def save(self, tokenizer, directory):
        export_diffusers(tokenizer, directory)
        return directory / WEIGHTS


def _diffusers_tensors(tokenizer):
    """What `taming_tensors` lists, by diffusers' names; attention is linear there."""
    levels = len(tokenizer.architecture["channel_multipliers"])
    found = []
    for tensor in taming_tensors(tokenizer, tokenizer.unit_range):
        name = NAMES.to_theirs(tensor.name, levels) or tensor.name
        linear = ".attentions." in name and len(tensor.shape) == 4
        found.append((name, tensor, tensor.shape[:2] if linear else tensor.shape))
    return found


def load_diffusers(directory, image_size=None):
    """Turn a diffusers VQModel folder into a tokenizer.

    Args:
        directory: with config.json and the weights (`diffusers_folder.read_weights`).
        image_size: int or (H, W); default the config's sample_size.

    Returns:
        the ImageTokenizer, and the names of the tensors that were left aside.

    Raises:
        ValueError: for a config of another model or of a kind that is not supported, and for
            tensors that are missing, left over, misshapen or not finite; nothing is half-loaded.
    """
    directory = Path(directory)
    source = repr(str(directory))
    architecture, sample_size = read_architecture(read_json(directory / CONFIG, "preset"), source)
    image_size = sample_size if image_size is None else image_size
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

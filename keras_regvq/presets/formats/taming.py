"""VQ-GAN and Gumbel-VQ checkpoints of taming-transformers, both ways."""

import math

from keras_regvq.checks.arguments import refuse
from keras_regvq.presets.formats.architecture import build_tokenizer, check_size, infer_architecture
from keras_regvq.presets.formats.checkpoint_format import CheckpointFormat
from keras_regvq.presets.formats.named_tensors import assign_all
from keras_regvq.presets.formats.state_dicts import find_state, holds_tokenizer, write_state_dict
from keras_regvq.presets.formats.taming_config import read_taming_config
from keras_regvq.presets.formats.vqgan_names import taming_tensors

_GROUPS = 32  # of each normalization


class Taming(CheckpointFormat):
    """Checkpoints of taming-transformers: a VQ-GAN, a Gumbel-VQ, or a Net2Net with its tokenizer.

    Whatever has its names is taken for one: other formats are asked before.
    """

    name = "taming"
    takes_config = True

    def matches(self, checkpoint):
        return checkpoint.is_file and holds_tokenizer(checkpoint.contents)

    def load(self, checkpoint, image_size=None, config=None):
        return load_taming(checkpoint.contents, checkpoint.source, image_size, config)

    def save(self, tokenizer, directory):
        return write_state_dict(taming_state_dict(tokenizer), directory)


def load_taming(checkpoint, source="the checkpoint", image_size=None, config=None):
    """Turn a checkpoint of taming-transformers into a tokenizer.

    Args:
        checkpoint: what `read_torch_file` read: with or without the loss networks, wrapped or not
            (`state_dicts`), or a Net2Net's, of which the tokenizer of its images is taken.
        source: what to call it in errors.
        image_size: int or (H, W) that the tokenizer is for; default the config's resolution, or 16
            tokens a side. Weights do not depend on it.
        config: path of the model's YAML file, which must agree with the tensors.

    Returns:
        the ImageTokenizer, and the names of the tensors that were not needed.

    Raises:
        ValueError: if tensors are missing, left over, misshapen or not finite; nothing is
            half-loaded.
    """
    state = find_state(checkpoint, source)
    shapes = {name: tuple(value.shape) for name, value in state.tensors.items()}
    architecture = infer_architecture(shapes, source)
    if config is not None:
        config = read_taming_config(config)
        config.check(architecture)
        image_size = config.image_size if image_size is None else image_size
    check_size(architecture, state.tensors, source)
    tokenizer = build_tokenizer(architecture, "quantize.embed.weight" in shapes, image_size)
    assign_all(taming_tensors(tokenizer), state.tensors, source)
    return tokenizer, sorted(state.rest) + state.beside


def taming_state_dict(tokenizer):
    """{taming's name: float32 array} of a tokenizer: what `load_taming` reads."""
    check_groups(tokenizer)
    return {tensor.name: tensor.to_file() for tensor in taming_tensors(tokenizer)}


def check_groups(tokenizer):
    """Refuse a tokenizer whose normalizations have other groups than taming's, which are fixed."""
    sizes = tokenizer.architecture
    channels = [sizes["base_channels"] * m for m in sizes["channel_multipliers"]]
    groups = sizes["norm_groups"]
    if any(math.gcd(groups, count) != math.gcd(_GROUPS, count) for count in channels):
        received = f"one of {groups} groups at levels of {channels} channels"
        refuse("tokenizer", received, f"norm_groups={_GROUPS}, which that project has fixed")

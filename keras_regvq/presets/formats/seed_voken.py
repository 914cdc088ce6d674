"""IBQ's tokenizers of SEED-Voken, both ways: VQ-GAN's network and names, another quantizer.

Its file holds each weight twice, the second time as the average over the training, by which the
project encodes and decodes. The names are taming-transformers'; so a file without averages can only
be told from one of a VQ-GAN by its config.
Source: https://github.com/TencentARC/SEED-Voken, src/IBQ.
"""

import numpy as np

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.presets.formats.architecture import build_tokenizer, check_size, infer_architecture
from keras_regvq.presets.formats.checkpoint_format import CheckpointFormat
from keras_regvq.presets.formats.named_tensors import NamedTensor, assign_all
from keras_regvq.presets.formats.state_dicts import (
    all_names,
    find_state,
    holds_tokenizer,
    write_state_dict,
)
from keras_regvq.presets.formats.taming import check_groups
from keras_regvq.presets.formats.taming_config import read_taming_config
from keras_regvq.presets.formats.vqgan_names import network_tensors
from keras_regvq.quantizers import IndexBackpropagationQuantizer

_CODE = "src.IBQ."  # where its classes are, of which "IBQ" is the tokenizer
_AVERAGES = "model_ema."
_DECAY = 0.999
# What a file of IBQ's has, and none of taming's: averages, or the transformer over its tokens.
_MARKS = {"model_ema.encoderconv_inweight", "transformer.blocks.0.attention.wqkv.weight"}


class SeedVoken(CheckpointFormat):
    """Checkpoints of SEED-Voken's IBQ: a tokenizer, or a transformer with its tokenizer."""

    name = "seed_voken"
    takes_config = True

    def matches(self, checkpoint):
        if not checkpoint.is_file or not holds_tokenizer(checkpoint.contents):
            return False
        if checkpoint.config is not None:
            said = read_taming_config(checkpoint.config).tokenizer_class
            if said:
                return said.startswith(_CODE)
        return not _MARKS.isdisjoint(all_names(checkpoint.contents))

    def load(self, checkpoint, image_size=None, config=None):
        return load_seed_voken(checkpoint.contents, checkpoint.source, image_size, config)

    def save(self, tokenizer, directory):
        return write_state_dict(seed_voken_state_dict(tokenizer), directory)


def load_seed_voken(checkpoint, source="the checkpoint", image_size=None, config=None):
    """Turn a checkpoint of IBQ into a tokenizer.

    The averaged weights are taken where there are some, as the project evaluates them, unless the
    config says that it has none (`use_ema`).

    Args:
        checkpoint, source, image_size, config: as of `taming.load_taming`.

    Returns:
        the ImageTokenizer, and the names of the tensors that were not needed.

    Raises:
        ValueError: if tensors are missing, left over, misshapen or not finite; nothing is
            half-loaded.
    """
    state = find_state(checkpoint, source)
    shapes = {name: tuple(value.shape) for name, value in state.tensors.items()}
    architecture = infer_architecture(shapes, source)
    averages = {name: value for name, value in state.rest.items() if _is_average(name)}
    if config is not None:
        config = read_taming_config(config)
        if config.tokenizer_class.rpartition(".")[2] not in ("", "IBQ"):
            received = f"{config.path!r}, of {config.tokenizer_class}"
            refuse("config", received, "one of IBQ, the only quantizer of that code with weights")
        config.check(architecture)
        image_size = config.image_size if image_size is None else image_size
        averages = averages if config.uses_averages else {}
    check_size(architecture, state.tensors, source)
    tokenizer = build_tokenizer(
        architecture, image_size=image_size, quantizer=IndexBackpropagationQuantizer
    )
    wanted = _seed_voken_tensors(tokenizer)
    assign_all(wanted, state.tensors, source)
    if averages:
        renamed = [tensor._replace(name=_average_name(tensor.name)) for tensor in wanted]
        assign_all(renamed, averages, source)
    return tokenizer, sorted(set(state.rest) - set(averages)) + state.beside


def seed_voken_state_dict(tokenizer):
    """{SEED-Voken's name: array} of a tokenizer with IBQ's quantizer; averages are the weights."""
    if not isinstance(tokenizer.quantizer, IndexBackpropagationQuantizer):
        received = f"one with {describe(tokenizer.quantizer)}"
        refuse("tokenizer", received, "an IndexBackpropagationQuantizer")
    if not tokenizer.architecture["middle_attention"]:
        refuse("tokenizer", "one without attention in the middle", "middle_attention=True")
    check_groups(tokenizer)
    state = {tensor.name: tensor.to_file() for tensor in _seed_voken_tensors(tokenizer)}
    averages = {_average_name(name): value for name, value in state.items()}
    kept = {"decay": np.float32(_DECAY), "num_updates": np.int32(-1)}  # -1: it does not warm up
    return {**state, **averages, **{_AVERAGES + name: np.array(n) for name, n in kept.items()}}


def _seed_voken_tensors(tokenizer):
    codebook = tokenizer.quantizer.codebook
    codes = NamedTensor("quantize.embedding.weight", codebook, tuple(codebook.shape))
    return [*network_tensors(tokenizer), codes]


def _average_name(name):
    return _AVERAGES + name.replace(".", "")  # buffers have no dots in their names


def _is_average(name):
    """Whether a tensor is the average of one of the tokenizer's, and not of a loss network's."""
    parts = ("encoder", "decoder", "quant", "post_quant")
    return name.startswith(tuple(_AVERAGES + part for part in parts))

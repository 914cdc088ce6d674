"""LlamaGen's image tokenizers, both ways: VQ-GAN's topology, with short codes of length 1."""

import re

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.presets.formats.architecture import build_tokenizer, check_size, infer_architecture
from keras_regvq.presets.formats.state_dicts import find_state
from keras_regvq.presets.formats.taming import taming_state_dict
from keras_regvq.presets.formats.vqgan_names import assign_all, taming_tensors
from keras_regvq.quantizers import VectorQuantizer

_MIDDLE = ("block_1", "attn_1", "block_2")


def taming_name(name, levels, middle=_MIDDLE):
    """LlamaGen's name of a tensor -> taming's, for a model of so many levels."""
    name = re.sub(r"^(\w+)\.mid\.([012])\.", lambda m: f"{m[1]}.mid.{middle[int(m[2])]}.", name)
    name = re.sub(r"^encoder\.conv_blocks\.(\d+)\.", r"encoder.down.\1.", name)
    name = re.sub(
        r"^decoder\.conv_blocks\.(\d+)\.", lambda m: f"decoder.up.{levels - 1 - int(m[1])}.", name
    )
    return re.sub(r"\.res\.(\d+)\.", r".block.\1.", name)


def llamagen_name(name, levels):
    """taming's name of a tensor -> LlamaGen's."""
    for number, part in enumerate(_MIDDLE):
        name = name.replace(f".mid.{part}.", f".mid.{number}.")
    name = re.sub(r"^encoder\.down\.(\d+)\.", r"encoder.conv_blocks.\1.", name)
    name = re.sub(
        r"^decoder\.up\.(\d+)\.", lambda m: f"decoder.conv_blocks.{levels - 1 - int(m[1])}.", name
    )
    return re.sub(r"\.block\.(\d+)\.", r".res.\1.", name)


def is_llamagen(checkpoint):
    """Whether what a file held looks like one of LlamaGen's."""
    return any(".conv_blocks." in name for name in _names(checkpoint, set()))


def load_llamagen(checkpoint, source="the checkpoint", image_size=None):
    """Turn a checkpoint of LlamaGen into a tokenizer.

    Args:
        checkpoint: what `read_torch_file` read, wrapped or not (`state_dicts`): the averaged
            weights, "ema", are taken where there are some, else "model".
        source, image_size: as of `taming.load_taming`.

    Returns:
        the ImageTokenizer, and the names of the tensors that were not needed.

    Raises:
        ValueError: if tensors are missing, left over, misshapen or not finite; nothing is
            half-loaded.
    """
    state = find_state(checkpoint, source)
    block = re.compile(r"decoder\.conv_blocks\.(\d{1,9})\.")
    blocks = [int(m[1]) for name in state.tensors if (m := block.match(name))]
    if not blocks:
        expected = 'a checkpoint of LlamaGen, with "decoder.conv_blocks.0"'
        some = ", ".join(list(state.tensors)[:3])
        refuse("checkpoint", f"{source}, which holds {some}", expected)
    levels = max(blocks) + 1
    # Without attention a list of the middle's parts may have two.
    middle = _MIDDLE if "encoder.mid.1.conv1.weight" not in state.tensors else _MIDDLE[::2] * 2
    tensors = {taming_name(n, levels, middle): v for n, v in state.tensors.items()}
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    architecture = infer_architecture(shapes, source)
    check_size(architecture, tensors, source)
    tokenizer = build_tokenizer(architecture, False, image_size, normalize=True)
    assign_all(taming_tensors(tokenizer), tensors, source)
    return tokenizer, sorted(state.rest) + state.beside


def llamagen_state_dict(tokenizer):
    """{LlamaGen's name: float32 array} of a tokenizer whose codes have length 1."""
    quantizer = tokenizer.quantizer
    if not (isinstance(quantizer, VectorQuantizer) and quantizer.normalize):
        received = f"one with {describe(quantizer)}"
        refuse("tokenizer", received, "a VectorQuantizer with normalize=True")
    levels = len(tokenizer.architecture["channel_multipliers"])
    return {llamagen_name(n, levels): v for n, v in taming_state_dict(tokenizer).items()}


def _names(value, seen):
    """The keys of a dict and of those in it."""
    if isinstance(value, dict) and id(value) not in seen:
        seen.add(id(value))
        for key, inner in value.items():
            if isinstance(key, str):
                yield key
                yield from _names(inner, seen)

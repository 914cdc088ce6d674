"""LlamaGen's image tokenizers, both ways: VQ-GAN's topology, with short codes of length 1."""

import re

from keras_regvq.presets.taming import build_tokenizer, infer_architecture, taming_state_dict
from keras_regvq.presets.tensor_names import assign_all, taming_tensors
from keras_regvq.quantizers import VectorQuantizer
from keras_regvq.validation import describe, refuse

_MIDDLE = ("block_1", "attn_1", "block_2")
_COUNTERS = {"quantize.codebook_used"}  # of its training


def taming_name(name, levels):
    """LlamaGen's name of a tensor -> taming's, for a model of so many levels."""
    name = re.sub(r"^(\w+)\.mid\.([012])\.", lambda m: f"{m[1]}.mid.{_MIDDLE[int(m[2])]}.", name)
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
    return any(".conv_blocks." in str(name) for name in _state_of(checkpoint))


def load_llamagen(checkpoint, source="the checkpoint", image_size=None):
    """Turn a checkpoint of LlamaGen into a tokenizer.

    Args:
        checkpoint: what `torch_files.read_torch_file` read: the averaged weights, "ema", are taken
            where there are some, else "model".
        source, image_size: as of `taming.load_taming`.

    Returns:
        the ImageTokenizer, and the names of the tensors that were not needed.

    Raises:
        ValueError: if tensors are missing, left over or misshapen; nothing is half-loaded.
    """
    state = {name: v for name, v in _state_of(checkpoint).items() if hasattr(v, "shape")}
    blocks = [int(m[1]) for name in state if (m := re.match(r"decoder\.conv_blocks\.(\d+)", name))]
    if not blocks:
        expected = 'a checkpoint of LlamaGen, with "decoder.conv_blocks.0"'
        refuse("checkpoint", f"{source}, which holds {', '.join(list(state)[:3])}", expected)
    ignored = sorted(_COUNTERS & set(state))
    levels = max(blocks) + 1
    tensors = {taming_name(n, levels): v for n, v in state.items() if n not in _COUNTERS}
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    architecture = infer_architecture(shapes, source)
    tokenizer = build_tokenizer(architecture, False, image_size, normalize=True)
    assign_all(taming_tensors(tokenizer), tensors, source)
    return tokenizer, ignored


def llamagen_state_dict(tokenizer):
    """{LlamaGen's name: float32 array} of a tokenizer whose codes have length 1."""
    quantizer = tokenizer.quantizer
    if not (isinstance(quantizer, VectorQuantizer) and quantizer.normalize):
        received = f"one with {describe(quantizer)}"
        refuse("tokenizer", received, "a VectorQuantizer with normalize=True")
    levels = len(tokenizer.architecture["channel_multipliers"])
    return {llamagen_name(n, levels): v for n, v in taming_state_dict(tokenizer).items()}


def _state_of(checkpoint):
    if not isinstance(checkpoint, dict):
        return {}
    for key in ("ema", "model", "state_dict"):
        if isinstance(checkpoint.get(key), dict):
            return checkpoint[key]
    return checkpoint

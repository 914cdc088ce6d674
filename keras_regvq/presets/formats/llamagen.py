"""LlamaGen's image tokenizers, both ways: VQ-GAN's topology, with short codes of length 1."""

import re

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.presets.formats.architecture import build_tokenizer, check_size, infer_architecture
from keras_regvq.presets.formats.checkpoint_format import CheckpointFormat
from keras_regvq.presets.formats.name_table import NameTable
from keras_regvq.presets.formats.named_tensors import assign_all
from keras_regvq.presets.formats.state_dicts import all_names, find_state, write_state_dict
from keras_regvq.presets.formats.taming import check_groups
from keras_regvq.presets.formats.vqgan_names import taming_tensors
from keras_regvq.quantizers import VectorQuantizer

# taming's names, and LlamaGen's: blocks are counted as they run, and the middle is a list.
_MIDDLE = {
    "{part}.mid.block_1.": "{part}.mid.0.",
    "{part}.mid.attn_1.": "{part}.mid.1.",
    "{part}.mid.block_2.": "{part}.mid.2.",
}
_MIDDLE_WITHOUT_ATTENTION = {
    "{part}.mid.block_1.": "{part}.mid.0.",
    "{part}.mid.block_2.": "{part}.mid.1.",
}
_LEVELS = {
    "encoder.down.{level}.block.{block}.": "encoder.conv_blocks.{level}.res.{block}.",
    "encoder.down.{level}.attn.{block}.": "encoder.conv_blocks.{level}.attn.{block}.",
    "encoder.down.{level}.downsample.": "encoder.conv_blocks.{level}.downsample.",
    "decoder.up.{level}.block.{block}.": "decoder.conv_blocks.{turn}.res.{block}.",
    "decoder.up.{level}.attn.{block}.": "decoder.conv_blocks.{turn}.attn.{block}.",
    "decoder.up.{level}.upsample.": "decoder.conv_blocks.{turn}.upsample.",
}
NAMES = NameTable({**_LEVELS, **_MIDDLE})
_SHORT_NAMES = NameTable({**_LEVELS, **_MIDDLE_WITHOUT_ATTENTION})


class LlamaGen(CheckpointFormat):
    """Checkpoints of LlamaGen's image tokenizers."""

    name = "llamagen"

    def matches(self, checkpoint):
        return checkpoint.is_file and is_llamagen(checkpoint.contents)

    def load(self, checkpoint, image_size=None, config=None):
        return load_llamagen(checkpoint.contents, checkpoint.source, image_size)

    def save(self, tokenizer, directory):
        return write_state_dict(llamagen_state_dict(tokenizer), directory)


def is_llamagen(checkpoint):
    """Whether what a file held looks like one of LlamaGen's."""
    return any(".conv_blocks." in name for name in all_names(checkpoint))


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
    names = _SHORT_NAMES if "encoder.mid.1.conv1.weight" in state.tensors else NAMES
    tensors = {names.to_ours(n, levels) or n: v for n, v in state.tensors.items()}
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    architecture = infer_architecture(shapes, source)
    check_size(architecture, tensors, source)
    tokenizer = build_tokenizer(architecture, False, image_size, normalize=True)
    assign_all(taming_tensors(tokenizer, normalizes=True), tensors, source)
    return tokenizer, sorted(state.rest) + state.beside


def llamagen_state_dict(tokenizer):
    """{LlamaGen's name: float32 array} of a tokenizer whose codes have length 1."""
    quantizer = tokenizer.quantizer
    if not (isinstance(quantizer, VectorQuantizer) and quantizer.normalize):
        received = f"one with {describe(quantizer)}"
        refuse("tokenizer", received, "a VectorQuantizer with normalize=True")
    check_groups(tokenizer)
    levels = len(tokenizer.architecture["channel_multipliers"])
    tensors = taming_tensors(tokenizer, normalizes=True)
    return {NAMES.to_theirs(t.name, levels) or t.name: t.to_file() for t in tensors}

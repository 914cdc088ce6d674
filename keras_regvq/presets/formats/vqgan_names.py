"""The tensors of a tokenizer under taming-transformers' names.

Its layers are VQ-GAN's, and so these names are the starting point: other projects' are renamings of
them, a `NameTable` each.
"""

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.models.layers.blocks import AttentionBlock, ResidualBlock, Upsample
from keras_regvq.presets.formats.name_table import NameTable
from keras_regvq.presets.formats.named_tensors import NamedTensor
from keras_regvq.quantizers import (
    GumbelQuantizer,
    RegularizedQuantizer,
    SimVQQuantizer,
    VectorQuantizer,
)

# The layers of `ImageTokenizer.encoder` and `.decoder`, and taming's modules.
NAMES = NameTable(
    {
        "{part}.conv_in.": "{part}.conv_in.",
        "encoder.down_{level}_block_{block}.": "encoder.down.{level}.block.{block}.",
        "encoder.down_{level}_attention_{block}.": "encoder.down.{level}.attn.{block}.",
        "encoder.down_{level}_downsample.": "encoder.down.{level}.downsample.conv.",
        "{part}.mid_block_{block}.": "{part}.mid.block_{block}.",
        "{part}.mid_attention_1.": "{part}.mid.attn_1.",
        "decoder.up_{level}_block_{block}.": "decoder.up.{level}.block.{block}.",
        "decoder.up_{level}_attention_{block}.": "decoder.up.{level}.attn.{block}.",
        "decoder.up_{level}_upsample.": "decoder.up.{level}.upsample.",
        "{part}.norm_out.": "{part}.norm_out.",
        "{part}.conv_out.": "{part}.conv_out.",
        "encoder.quant_conv.": "quant_conv.",
        "decoder.post_quant_conv.": "post_quant_conv.",
    }
)
# The layers inside of these, and what stands there after the name of the module.
_INSIDES = {
    ResidualBlock: {
        "norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2",
        "shortcut": "nin_shortcut",
    },
    AttentionBlock: {
        "norm": "norm", "query": "q", "key": "k", "value": "v", "projection": "proj_out",
    },
    Upsample: {"conv": "conv"},
}  # fmt: skip


def taming_tensors(tokenizer, unit_range=False, normalizes=False):
    """List a tokenizer's weights as taming-transformers names them.

    Args:
        tokenizer: an ImageTokenizer or LabelMapTokenizer with a VectorQuantizer, or a
            GumbelQuantizer or RegularizedQuantizer, which are alike there.
        unit_range: whether the project's network works on pixels in [0, 1]: of one that does not,
            the tokenizer's must not either.
        normalizes: whether the project brings codes to length 1 itself.

    Returns:
        list of NamedTensor.

    Raises:
        ValueError: for another quantizer or patches, which those projects do not know.
    """
    codes = _quantizer_tensors(tokenizer.quantizer, normalizes)
    return network_tensors(tokenizer, unit_range) + codes


def network_tensors(tokenizer, unit_range=False):
    """Those of `taming_tensors` that are not the quantizer's."""
    patch_size = getattr(tokenizer, "patch_size", 1)
    if patch_size > 1:
        refuse("tokenizer", f"one of patch_size={patch_size}", "patch_size=1, as in VQ-GAN")
    if tokenizer.num_res_blocks == 0:
        refuse("tokenizer", "one of num_res_blocks=0", "at least one, as in VQ-GAN")
    works_so = getattr(tokenizer, "unit_range", False)
    if works_so != unit_range:
        expected = f"unit_range={unit_range}, as that project's networks"
        refuse("tokenizer", f"one of unit_range={works_so}", expected)
    found = []
    for part in ("encoder", "decoder"):
        for layer in getattr(tokenizer, part).layers:
            if not layer.weights:
                continue
            start = NAMES.to_theirs(f"{part}.{layer.name}.")
            assert start is not None, f"no name for the layer {layer.name!r}"
            insides = _INSIDES.get(type(layer))
            if insides is None:
                found += _weight_and_bias(start, layer)
                continue
            for ours, theirs in insides.items():
                sublayer = getattr(layer, ours)
                if sublayer is not None:
                    found += _weight_and_bias(f"{start}{theirs}.", sublayer)
    return found


def _weight_and_bias(start, layer):
    if hasattr(layer, "gamma"):
        weight, bias = layer.gamma, layer.beta
        shape = tuple(weight.shape)
    else:
        weight, bias = layer.kernel, layer.bias
        height, width, inputs, outputs = weight.shape
        shape = (outputs, inputs, height, width)
    return [
        NamedTensor(f"{start}weight", weight, shape),
        NamedTensor(f"{start}bias", bias, tuple(bias.shape)),
    ]


def _quantizer_tensors(quantizer, normalizes):
    shape = (quantizer.codebook_size, quantizer.embedding_dim)
    if isinstance(quantizer, VectorQuantizer):
        if quantizer.projection_dim is not None:
            received = f"a quantizer with projection_dim={quantizer.projection_dim}"
            refuse("tokenizer", received, "projection_dim=None")
        # SimVQ's codes, those that a start moved, and those that are brought to length 1 are
        # written as the VQ that they are then: of codes of one length, the nearest to a feature is
        # the nearest to it at length 1.
        moved = isinstance(quantizer, SimVQQuantizer) or quantizer.upkeep is not None
        moved = moved or quantizer.normalize and not normalizes
        codes = quantizer.codes() if moved else quantizer.codebook
        return [NamedTensor("quantize.embedding.weight", codes, shape)]
    # Without noise Reg-VQ's quantizer does what Gumbel-VQ's does.
    if getattr(quantizer, "logits", None) == "cosine":
        refuse("tokenizer", 'a quantizer with logits="cosine"', 'logits="linear"')
    if isinstance(quantizer, (GumbelQuantizer, RegularizedQuantizer)):
        inputs, codes = quantizer.kernel.shape
        return [
            NamedTensor("quantize.embed.weight", quantizer.codebook, shape),
            NamedTensor("quantize.proj.weight", quantizer.kernel, (codes, inputs, 1, 1)),
            NamedTensor("quantize.proj.bias", quantizer.bias, (codes,)),
        ]
    expected = "a VectorQuantizer, GumbelQuantizer or RegularizedQuantizer"
    refuse("tokenizer", f"one with {describe(quantizer)}", expected)

"""The tensors of a tokenizer under the names that other projects give them.

taming-transformers' names are the starting point, since the layers are its layers; diffusers' and
LlamaGen's are renamings of these.
"""

import re
from typing import NamedTuple

import numpy as np
from keras import ops

from keras_regvq.checks.arrays import describe, refuse
from keras_regvq.checks.finite import is_finite
from keras_regvq.models.layers.blocks import AttentionBlock, ResidualBlock, Upsample
from keras_regvq.quantizers import GumbelQuantizer, RegularizedQuantizer, VectorQuantizer

_INSIDE = {
    ResidualBlock: {
        "norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2",
        "shortcut": "nin_shortcut",
    },
    AttentionBlock: {
        "norm": "norm", "query": "q", "key": "k", "value": "v", "projection": "proj_out",
    },
    Upsample: {"conv": "conv"},
}  # fmt: skip
_LAYERS = (
    (r"(down|up)_(\d+)_block_(\d+)", r"{part}.\1.\2.block.\3"),
    (r"(down|up)_(\d+)_attention_(\d+)", r"{part}.\1.\2.attn.\3"),
    (r"(down)_(\d+)_downsample", r"{part}.\1.\2.downsample.conv"),
    (r"(up)_(\d+)_upsample", r"{part}.\1.\2.upsample"),
    (r"mid_block_(\d)", r"{part}.mid.block_\1"),
    (r"mid_attention_1", r"{part}.mid.attn_1"),
    (r"(quant_conv|post_quant_conv)", r"\1"),
    (r"(conv_in|norm_out|conv_out)", r"{part}.\1"),
)


class NamedTensor(NamedTuple):
    """A weight of a tokenizer: its name in a file, its shape there, and how it gets into Keras."""

    name: str
    variable: object
    shape: tuple

    def to_keras(self, array):
        """An array of the file's shape -> one of the variable's."""
        if len(self.shape) == 4:  # (out, in, h, w), also of what is a matrix here
            array = array.transpose(2, 3, 1, 0)
        return np.reshape(array, tuple(self.variable.shape))

    def to_file(self):
        """The variable's value as the file has it, float32."""
        value = ops.convert_to_numpy(self.variable).astype("float32")
        if len(self.shape) == 4:
            value = np.reshape(value, (*self.shape[2:], self.shape[1], self.shape[0]))
            value = value.transpose(3, 2, 0, 1)
        return np.ascontiguousarray(np.reshape(value, self.shape))


class LinearTensor(NamedTensor):
    """The weight (outputs, inputs) of a PyTorch Linear, here a kernel (inputs, outputs)."""

    def to_keras(self, array):
        return np.reshape(array.T, tuple(self.variable.shape))

    def to_file(self):
        value = ops.convert_to_numpy(self.variable).astype("float32")
        return np.ascontiguousarray(np.reshape(value, self.shape[::-1]).T)


def taming_tensors(tokenizer):
    """List a tokenizer's weights as taming-transformers names them.

    Args:
        tokenizer: an ImageTokenizer or LabelMapTokenizer with a VectorQuantizer, or a
            GumbelQuantizer or RegularizedQuantizer, which are alike there.

    Returns:
        list of NamedTensor.

    Raises:
        ValueError: for another quantizer, which those projects do not know.
    """
    found = []
    for part in ("encoder", "decoder"):
        for layer in getattr(tokenizer, part).layers:
            if not layer.weights:
                continue
            prefix = _taming_name(layer.name, part)
            names = _INSIDE.get(type(layer))
            inner = [(prefix, layer)]
            if names is not None:
                inner = [
                    (f"{prefix}.{theirs}", getattr(layer, ours)) for ours, theirs in names.items()
                ]
            for name, sublayer in inner:
                if sublayer is not None:
                    found += _weight_and_bias(name, sublayer)
    return found + _quantizer_tensors(tokenizer.quantizer)


def _taming_name(layer_name, part):
    for pattern, name in _LAYERS:
        match = re.fullmatch(pattern, layer_name)
        if match:
            return match.expand(name).format(part=part)
    raise AssertionError(f"no name for the layer {layer_name!r}")


def _weight_and_bias(name, layer):
    if hasattr(layer, "gamma"):
        weight, bias = layer.gamma, layer.beta
        shape = tuple(weight.shape)
    else:
        weight, bias = layer.kernel, layer.bias
        height, width, inputs, outputs = weight.shape
        shape = (outputs, inputs, height, width)
    return [
        NamedTensor(f"{name}.weight", weight, shape),
        NamedTensor(f"{name}.bias", bias, tuple(bias.shape)),
    ]


def _quantizer_tensors(quantizer):
    shape = (quantizer.codebook_size, quantizer.embedding_dim)
    if isinstance(quantizer, VectorQuantizer):
        return [NamedTensor("quantize.embedding.weight", quantizer.codebook, shape)]
    # Without noise Reg-VQ's quantizer does what Gumbel-VQ's does.
    if isinstance(quantizer, (GumbelQuantizer, RegularizedQuantizer)):
        inputs, codes = quantizer.kernel.shape
        return [
            NamedTensor("quantize.embed.weight", quantizer.codebook, shape),
            NamedTensor("quantize.proj.weight", quantizer.kernel, (codes, inputs, 1, 1)),
            NamedTensor("quantize.proj.bias", quantizer.bias, (codes,)),
        ]
    expected = "a VectorQuantizer, GumbelQuantizer or RegularizedQuantizer"
    refuse("tokenizer", f"one with {describe(quantizer)}", expected)


def assign_all(wanted, tensors, source):
    """Set every weight from a file's tensors; all are checked before the first is set.

    Args:
        wanted: list of NamedTensor.
        tensors: {name: array} of the file.
        source: what to call the file in errors.

    Raises:
        ValueError: if tensors are missing, left over, of another shape, or no finite numbers.
    """
    names = [tensor.name for tensor in wanted]
    missing = [name for name in names if name not in tensors]
    extra = sorted(set(tensors) - set(names))
    misshapen = [
        f"{tensor.name} of shape {tuple(tensors[tensor.name].shape)} instead of {tensor.shape}"
        for tensor in wanted
        if tensor.name in tensors and tuple(tensors[tensor.name].shape) != tensor.shape
    ]
    kinds = {"lacks": missing, "has in addition": extra, "has": misshapen}
    if not any(kinds.values()):
        kinds["has, with NaN or infinity,"] = [
            name for name in names if not _is_number(tensors[name])
        ]
    problems = [
        f"{kind} {len(found)} tensors ({_some(found)})" for kind, found in kinds.items() if found
    ]
    if problems:
        expected = f"the {len(names)} tensors of this architecture"
        refuse("checkpoint", f"{source}, which {'; '.join(problems)}", expected)
    for tensor in wanted:
        tensor.variable.assign(tensor.to_keras(tensors[tensor.name].astype("float32")))


def _some(names):
    return ", ".join(f"{name:.120}" for name in names[:3]) + ", ..." * (len(names) > 3)


def _is_number(array):
    return array.dtype.kind in "fiub" and is_finite(array)

"""MaskGIT's VQ-GAN as a VQ-GAN: the same function with the layers of `ImageTokenizer`.

Chang et al., "MaskGIT: Masked Generative Image Transformer" (2022). What it does otherwise, and how
VQ-GAN's layers do the same exactly:

    no bias in most convolutions         a bias of zeros
    average pooling of 2x2               a strided convolution with 1/4 at four of nine places
    h + W h after a change of channels   a second convolution of (I + W) K, and no shortcut
    as many blocks a level in the        a block more, whose second convolution is zero
    decoder as in the encoder
    a last 1x1 convolution               one of 3x3 with zeros around
    no convolutions at the codebook      the identity
    pixels in [0, 1]                     ImageTokenizer(unit_range=True)
"""

import numpy as np

from keras_regvq.checks.arguments import refuse
from keras_regvq.presets.formats.name_table import NameTable

# taming's names, and open-muse's.
NAMES = NameTable(
    {
        "{part}.mid.block_1.": "{part}.mid.0.",
        "{part}.mid.block_2.": "{part}.mid.1.",
        "decoder.up.{level}.upsample.conv.": "decoder.up.{level}.upsample_conv.",
    }
)
BLOCKS = 2  # a level, and in the middle, where VQ-GAN has two whatever a level has


def published_shapes(architecture):
    """{open-muse's name: shape} of a network, from what `infer_architecture` found."""
    sizes, found = architecture, {}

    def convolution(name, outputs, inputs, side=3, bias=True):
        found[f"{name}.weight"] = (outputs, inputs, side, side)
        if bias:
            found[f"{name}.bias"] = (outputs,)

    def norm(name, channels):
        found[f"{name}.weight"] = found[f"{name}.bias"] = (channels,)

    def blocks(name, inputs, outputs):
        for number in range(BLOCKS):
            block = f"{name}.{number}"
            norm(f"{block}.norm1", inputs)
            convolution(f"{block}.conv1", outputs, inputs, bias=False)
            norm(f"{block}.norm2", outputs)
            convolution(f"{block}.conv2", outputs, outputs, bias=False)
            if inputs != outputs:
                convolution(f"{block}.nin_shortcut", outputs, outputs, 1, bias=False)
            inputs = outputs

    base, latent = sizes["base_channels"], sizes["latent_channels"]
    widths = [base * multiplier for multiplier in sizes["channel_multipliers"]]
    convolution("encoder.conv_in", base, 3, bias=False)
    channels = base
    for level, width in enumerate(widths):
        blocks(f"encoder.down.{level}.block", channels, width)
        channels = width
    blocks("encoder.mid", channels, channels)
    norm("encoder.norm_out", channels)
    convolution("encoder.conv_out", latent, channels, 1)
    convolution("decoder.conv_in", channels, latent)
    blocks("decoder.mid", channels, channels)
    for level, width in reversed(list(enumerate(widths))):
        blocks(f"decoder.up.{level}.block", channels, width)
        channels = width
        if level > 0:
            convolution(f"decoder.up.{level}.upsample_conv", width, width)
    norm("decoder.norm_out", channels)
    convolution("decoder.conv_out", 3, channels)
    found["quantize.embedding.weight"] = (sizes["codebook_size"], sizes["embedding_dim"])
    return found


def to_vqgan(tensors, shapes):
    """MaskGIT's tensors as a VQ-GAN's.

    Args:
        tensors: {open-muse's name: array}, of `published_shapes`.
        shapes: {taming's name: shape} of the VQ-GAN.

    Returns:
        {taming's name: array}.
    """
    found = {NAMES.to_ours(name) or name: np.asarray(v, "float32") for name, v in tensors.items()}
    around = ((0, 0), (0, 0), (1, 1), (1, 1))
    found["encoder.conv_out.weight"] = np.pad(found["encoder.conv_out.weight"], around)
    for name in [name for name in found if name.endswith(".nin_shortcut.weight")]:
        second = name.replace("nin_shortcut", "conv2")
        kernel = found[second].astype("float64")
        mixed = np.einsum("oi,i...->o...", found[name][..., 0, 0].astype("float64"), kernel)
        found[second] = (kernel + mixed).astype("float32")
        found[name] = np.zeros(shapes[name], "float32")
    return {name: found[name] if name in found else neutral(name, shapes[name]) for name in shapes}


def from_vqgan(tensors, published):
    """A VQ-GAN's tensors as MaskGIT's, if all that MaskGIT lacks is as `to_vqgan` makes it.

    Args:
        tensors: {taming's name: array}.
        published: `published_shapes`.

    Returns:
        {open-muse's name: array}.

    Raises:
        ValueError: naming the first tensor that MaskGIT's network has no place for.
    """
    found = {}
    for name, value in tensors.items():
        theirs = NAMES.to_theirs(name) or name
        if name.endswith(".nin_shortcut.weight"):
            _check_same(name, value, np.zeros_like(value))
            found[theirs] = np.zeros(published[theirs], "float32")
        elif name == "encoder.conv_out.weight":
            centre = value[:, :, 1:2, 1:2]
            _check_same(name, value, np.pad(centre, ((0, 0), (0, 0), (1, 1), (1, 1))))
            found[theirs] = np.ascontiguousarray(centre)
        elif theirs in published:
            found[theirs] = value
        else:
            _check_same(name, value, neutral(name, value.shape))
    return found


def neutral(name, shape):
    """The array that a tensor has where MaskGIT has none, or average pooling."""
    array = np.zeros(shape, "float32")
    if len(shape) == 1:
        return array + name.endswith(".weight")  # of a normalization: ones, and zeros for the bias
    if name.endswith(".conv2.weight"):
        return array
    diagonal = np.arange(min(shape[:2]))
    if ".downsample." in name:
        array[diagonal, diagonal, :2, :2] = 0.25
    else:
        array[diagonal, diagonal, shape[2] // 2, shape[3] // 2] = 1.0
    return array


def _check_same(name, value, needed):
    if not np.array_equal(value, needed):
        received = f"one whose weight {name} has been trained, or was never MaskGIT's"
        refuse("tokenizer", received, "one read from a MaskGIT: its network has no such weight")

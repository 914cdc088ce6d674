"""A tokenizer's architecture from the shapes of another project's tensors, and back to a model."""

import re

from keras_regvq.checks.arguments import refuse
from keras_regvq.models import ImageTokenizer
from keras_regvq.models.tokenizers.image_sizes import check_image_size
from keras_regvq.quantizers import GumbelQuantizer, VectorQuantizer

_MOST_CHANNELS = 16_384  # what no checkpoint has: a file that asks for more is refused
_MOST_LEVELS = 32  # also of blocks a level


def infer_architecture(shapes, source):
    """`ImageTokenizer`'s arguments, from the shapes of a checkpoint's tensors.

    Which levels have attention is seen in the names; at what image size it is placed there is not,
    and makes no difference to the weights.

    Args:
        shapes: {taming's name: shape}.
        source: what to call the file in errors.

    Returns:
        dict: "base_channels", "channel_multipliers", "num_res_blocks", "latent_channels",
        "attention_levels" (a set), "middle_attention", "embedding_dim" and "codebook_size".
    """

    def outputs(name):
        shape = shapes.get(f"{name}.weight")
        if shape is None or len(shape) != 4 or not 0 < shape[0] <= _MOST_CHANNELS:
            received = "lacks it" if shape is None else f"has it with shape {tuple(shape)}"
            refuse("checkpoint", f"{source}, which {received}", f"a tensor {name}.weight")
        return int(shape[0])

    def highest(pattern):
        found = [int(m[1]) for name in shapes if (m := re.match(pattern, name))]
        if not found or max(found) >= _MOST_LEVELS:
            expected = f"encoder tensors {pattern}, numbered below {_MOST_LEVELS}"
            refuse("checkpoint", source, expected)
        return max(found)

    base = outputs("encoder.conv_in")
    levels = range(highest(r"encoder\.down\.(\d{1,9})\.") + 1)
    channels = [outputs(f"encoder.down.{level}.block.0.conv1") for level in levels]
    if any(count % base for count in channels):
        refuse("checkpoint", f"{source}, with {channels} channels", f"multiples of {base}")
    codebook = "quantize.embed.weight" if "quantize.embed.weight" in shapes else (
        "quantize.embedding.weight"
    )  # fmt: skip
    shape = tuple(shapes.get(codebook, ()))
    if len(shape) != 2 or 0 in shape:
        refuse("checkpoint", f"{source}, with {codebook} of shape {shape}", "a codebook (N, d)")
    attention = {level for level in levels if f"encoder.down.{level}.attn.0.norm.weight" in shapes}
    return {
        "base_channels": base,
        "channel_multipliers": tuple(count // base for count in channels),
        "num_res_blocks": highest(r"encoder\.down\.0\.block\.(\d{1,9})\.") + 1,
        "latent_channels": outputs("encoder.conv_out"),
        "attention_levels": attention,
        "middle_attention": any(name.startswith("encoder.mid.attn_1.") for name in shapes),
        "embedding_dim": int(shape[1]),
        "codebook_size": int(shape[0]),
    }


def build_tokenizer(
    architecture, gumbel=False, image_size=None, quantizer=None, **quantizer_options
):
    """An ImageTokenizer of what `infer_architecture` found.

    Args:
        image_size: int or (H, W); default 16 tokens a side.
        gumbel: whether the quantizer is Gumbel-VQ's.
        quantizer: class of another one than VQ's or Gumbel-VQ's.
        **quantizer_options: of the quantizer.
    """
    settings = dict(architecture)
    levels = settings.pop("attention_levels")
    size = settings.pop("codebook_size"), settings.pop("embedding_dim")
    factor = 2 ** (len(settings["channel_multipliers"]) - 1)
    height, width = check_image_size(16 * factor if image_size is None else image_size, factor)
    kind = quantizer or (GumbelQuantizer if gumbel else VectorQuantizer)
    made = kind(*size, **quantizer_options)
    attention = tuple(height // 2**level for level in sorted(levels))
    return ImageTokenizer((height, width), made, attention_resolutions=attention, **settings)


def check_size(architecture, tensors, source, image_channels=3):
    """Refuse an architecture that needs far more numbers or tensors than a file has.

    Forged sizes would fill the memory before the tensors could be compared one by one.

    Args:
        architecture: what `infer_architecture` found.
        tensors: {name: array} of the file.
        source: what to call the file in errors.
        image_channels: of the tokenizer's images.
    """
    needed = _needed(architecture, image_channels)
    numbers, count = sum(needed), len(needed)
    there = sum(tensor.size for tensor in tensors.values())
    if numbers > 4 * there + 10**6 or count > 4 * len(tensors) + 100:
        received = f"{source}, whose {len(tensors)} tensors have {there:,} numbers"
        refuse("checkpoint", received, f"{count} tensors of {numbers:,} numbers, by its shapes")


def _needed(architecture, image_channels):
    """The number of numbers of each weight of encoder, decoder and codebook."""
    sizes, needed = architecture, []

    def convolution(inputs, outputs, side=3):
        needed.extend((inputs * outputs * side * side, outputs))

    def norm(channels):
        needed.extend((channels, channels))

    def block(inputs, outputs):
        norm(inputs)
        convolution(inputs, outputs)
        norm(outputs)
        convolution(outputs, outputs)
        if inputs != outputs:
            convolution(inputs, outputs, 1)

    def attention(channels):
        norm(channels)
        for _ in range(4):
            convolution(channels, channels, 1)

    def middle(channels):
        block(channels, channels)
        if sizes["middle_attention"]:
            attention(channels)
        block(channels, channels)

    base, latent = sizes["base_channels"], sizes["latent_channels"]
    widths = [base * multiplier for multiplier in sizes["channel_multipliers"]]
    last = len(widths) - 1
    convolution(image_channels, base)
    channels = base
    for way, order in (("down", range(last + 1)), ("up", range(last, -1, -1))):
        if way == "up":
            middle(channels)  # the encoder's, then the decoder's
            norm(channels)
            convolution(channels, latent)
            convolution(latent, sizes["embedding_dim"], 1)
            convolution(sizes["embedding_dim"], latent, 1)
            convolution(latent, channels)
            middle(channels)
        for level in order:
            for _ in range(sizes["num_res_blocks"] + (way == "up")):
                block(channels, widths[level])
                channels = widths[level]
                if level in sizes["attention_levels"]:
                    attention(channels)
            if level != (last if way == "down" else 0):
                convolution(channels, channels)
    norm(channels)
    convolution(channels, image_channels)
    return [*needed, sizes["codebook_size"] * sizes["embedding_dim"]]

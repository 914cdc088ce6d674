"""VQ-GAN's encoder and decoder, each top to bottom in the order the data flows.

The topology of taming-transformers (Esser et al., 2021): one level a channel multiplier, each
level but the last halving the resolution. With a `patch_size` above 1 the first level works on
patches of so many pixels a side instead of pixels: a strided convolution cuts the image into them,
and a pixel shuffle puts them together again.
"""

import functools

import keras
from keras import layers

from keras_regvq.models.layers.blocks import (
    AttentionBlock,
    Convolution,
    ResidualBlock,
    Upsample,
    downsample,
)
from keras_regvq.models.layers.group_norm import GroupNorm
from keras_regvq.models.layers.pixel_shuffle import PixelShuffle


def attention_levels(height, attention_resolutions, levels):
    """The levels with attention; level 0 has the highest resolution.

    Args:
        height: of the images, in patches, that the network is made for.
        attention_resolutions: heights of the feature maps that attention works on.
        levels: how many there are.
    """
    return [level for level in range(levels) if height // 2**level in attention_resolutions]


def at_image_size(config, image_size):
    """A tokenizer's config for another image size, with attention at the levels where it was.

    Weights do not depend on the size, but `attention_resolutions` are heights at this one.

    Args:
        config: dict of "image_size", "channel_multipliers", "attention_resolutions" and all else.
        image_size: int or (height, width).
    """
    old, new = (
        size[0] if isinstance(size, (list, tuple)) else size
        for size in (config["image_size"], image_size)
    )
    patch_size = config.get("patch_size", 1)
    kept = attention_levels(
        old // patch_size, config["attention_resolutions"], len(config["channel_multipliers"])
    )
    resolutions = [new // patch_size // 2**level for level in kept]
    return {**config, "image_size": image_size, "attention_resolutions": resolutions}


def build_encoder(
    image_size,
    base_channels,
    channel_multipliers,
    num_res_blocks,
    attention_resolutions,
    latent_channels,
    embedding_channels,
    dropout,
    dtype,
    image_channels=3,
    middle_attention=True,
    norm_groups=32,
    patch_size=1,
    unit_range=False,
    gradient_checkpointing=False,
):
    """Images (B, H, W, image_channels) in [-1, 1] -> features (B, H/f, W/f, embedding_channels).

    Attention sits at the levels whose resolution for `image_size` (the trained height) is in
    `attention_resolutions`, and in the middle with `middle_attention`; it follows the blocks to any
    other image size. Normalizations have `norm_groups` groups. With `unit_range` the first
    convolution sees pixels in [0, 1]: at the border it matters, where it is padded with zeros.
    """
    options = {"dtype": dtype}
    with_attention = attention_levels(
        image_size // patch_size, attention_resolutions, len(channel_multipliers)
    )
    grouped = {"norm_groups": norm_groups, **options}
    block = residual_block(dropout, gradient_checkpointing, grouped)
    inputs = keras.Input((None, None, image_channels), name="images", dtype="float32")
    patches = {"strides": patch_size, "padding": "valid" if patch_size > 1 else "same"}
    side = patch_size if patch_size > 1 else 3
    x = layers.Rescaling(0.5, 0.5, name="unit_range")(inputs) if unit_range else inputs
    x = Convolution(base_channels, side, name="conv_in", **patches, **options)(x)
    for level, multiplier in enumerate(channel_multipliers):
        channels = base_channels * multiplier
        for number in range(num_res_blocks):
            x = block(channels, name=f"down_{level}_block_{number}")(x)
            if level in with_attention:
                x = AttentionBlock(name=f"down_{level}_attention_{number}", **grouped)(x)
        if level < len(channel_multipliers) - 1:
            x = downsample(channels, name=f"down_{level}_downsample", **options)(x)

    x = middle(x, block, channels, grouped if middle_attention else None)
    x = GroupNorm(norm_groups, name="norm_out", **options)(x)
    x = layers.Activation("silu", name="act_out", **options)(x)
    x = Convolution(latent_channels, 3, padding="same", name="conv_out", **options)(x)
    x = Convolution(embedding_channels, 1, name="quant_conv", **options)(x)
    return keras.Model(inputs, x, name="encoder")


def build_decoder(
    image_size,
    base_channels,
    channel_multipliers,
    num_res_blocks,
    attention_resolutions,
    latent_channels,
    embedding_dim,
    dropout,
    dtype,
    image_channels=3,
    middle_attention=True,
    norm_groups=32,
    patch_size=1,
    unit_range=False,
    gradient_checkpointing=False,
):
    """Embeddings (B, h, w, d) -> dict of "images" (B, f h, f w, image_channels), and "hidden".

    "hidden" is the input of the last convolution, "conv_out": the adaptive adversarial weight
    needs it. With patches it has their resolution. Images lie around [-1, 1]: there is no tanh at
    the end. Levels count from the highest resolution, as in the encoder, and run from the lowest;
    each has one residual block more than the encoder's. With `unit_range` the last convolution
    gives them around [0, 1].
    """
    options = {"dtype": dtype}
    with_attention = attention_levels(
        image_size // patch_size, attention_resolutions, len(channel_multipliers)
    )
    grouped = {"norm_groups": norm_groups, **options}
    block = residual_block(dropout, gradient_checkpointing, grouped)
    inputs = keras.Input((None, None, embedding_dim), name="embeddings", dtype="float32")
    channels = base_channels * channel_multipliers[-1]
    x = Convolution(latent_channels, 1, name="post_quant_conv", **options)(inputs)
    x = Convolution(channels, 3, padding="same", name="conv_in", **options)(x)
    x = middle(x, block, channels, grouped if middle_attention else None)

    for level, multiplier in reversed(list(enumerate(channel_multipliers))):
        channels = base_channels * multiplier
        for number in range(num_res_blocks + 1):
            x = block(channels, name=f"up_{level}_block_{number}")(x)
            if level in with_attention:
                x = AttentionBlock(name=f"up_{level}_attention_{number}", **grouped)(x)
        if level > 0:
            x = Upsample(channels, name=f"up_{level}_upsample", **options)(x)

    x = GroupNorm(norm_groups, name="norm_out", **options)(x)
    hidden = layers.Activation("silu", name="act_out", **options)(x)
    outputs = image_channels * patch_size**2
    images = Convolution(outputs, 3, padding="same", name="conv_out", dtype="float32")(hidden)
    if patch_size > 1:
        images = PixelShuffle(patch_size, name="patches", dtype="float32")(images)
    if unit_range:
        images = layers.Rescaling(2.0, -1.0, name="unit_range", dtype="float32")(images)
    return keras.Model(inputs, {"images": images, "hidden": hidden}, name="decoder")


def residual_block(dropout, gradient_checkpointing, options):
    """`ResidualBlock` with the settings that all blocks of a network share."""
    shared = {"dropout": dropout, "gradient_checkpointing": gradient_checkpointing, **options}
    return functools.partial(ResidualBlock, **shared)


def middle(x, block, channels, attention):
    """Residual block, attention if it is no None, residual block at the lowest resolution.

    Args:
        block: a ResidualBlock but for channels and name.
        attention: None, or the settings of an AttentionBlock.
    """
    x = block(channels, name="mid_block_1")(x)
    if attention is not None:
        x = AttentionBlock(name="mid_attention_1", **attention)(x)
    return block(channels, name="mid_block_2")(x)

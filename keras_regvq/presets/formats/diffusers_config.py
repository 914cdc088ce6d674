"""The config.json of a diffusers VQModel: its architecture, and back."""

import math
import reprlib

from keras_regvq.checks.arguments import check_integer, refuse

_DOWN = {"DownEncoderBlock2D": False, "AttnDownEncoderBlock2D": True}
_UP = {"UpDecoderBlock2D": False, "AttnUpDecoderBlock2D": True}
_MOST_LEVELS = 32


def read_architecture(config, source):
    """(architecture, image_size) of `build_tokenizer`, from a VQModel's config.

    Args:
        config: dict.
        source: what to call the folder in errors.

    Raises:
        ValueError: for a model of a kind that is not supported, and values that are no sizes.
    """

    def wrong(name, expected, value=None):
        value = reprlib.repr(config.get(name) if value is None else value)
        refuse("preset", f"{source}, with {name}={value}", expected)

    def check_size(name, value, most):
        try:
            value = check_integer(name, value, 1)
        except ValueError:
            wrong(name, "a config.json of diffusers' VQModel: integers of at least 1", value)
        return value if value <= most else wrong(name, f"at most {most}", value)

    def size(name, default, most=2**14):
        value = config.get(name)
        return check_size(name, default if value is None else value, most)

    for name, only in (
        ("in_channels", 3), ("out_channels", 3), ("norm_type", "group"), ("act_fn", "silu"),
    ):  # fmt: skip
        if config.get(name, only) != only:
            wrong(name, f"{name}={only!r}")
    attention_in_middle = config.get("mid_block_add_attention", True)
    # Set by aMUSEd alone, which gives its VQModel pixels in [0, 1].
    unit_range = config.get("lookup_from_codebook", False)
    for name, flag in (
        ("mid_block_add_attention", attention_in_middle), ("lookup_from_codebook", unit_range),
    ):  # fmt: skip
        if not isinstance(flag, bool):
            wrong(name, "true or false")
    channels = config.get("block_out_channels", [64])
    if not isinstance(channels, (list, tuple)) or not 1 <= len(channels) <= _MOST_LEVELS:
        wrong("block_out_channels", f"a list of 1 to {_MOST_LEVELS} integers")
    channels = [check_size("block_out_channels", count, 2**14) for count in channels]
    kinds = {}
    for name, known in (("down_block_types", _DOWN), ("up_block_types", _UP)):
        given = config.get(name, list(known)[:1])
        ok = isinstance(given, (list, tuple)) and len(given) == len(channels)
        if not ok or not all(isinstance(kind, str) and kind in known for kind in given):
            wrong(name, f"{len(channels)} of the kinds {', '.join(known)}")
        kinds[name] = [known[kind] for kind in given]
    attention = kinds["down_block_types"]
    if attention != kinds["up_block_types"][::-1]:
        wrong("up_block_types", "attention at the same resolutions in encoder and decoder")
    if any(count % channels[0] for count in channels):
        received = f"{source}, with block_out_channels={channels}"
        refuse("preset", received, f"multiples of the first, {channels[0]}")
    groups = size("norm_num_groups", 32)
    if any(count % groups for count in channels):
        wrong("norm_num_groups", f"a divisor of the channels {channels}")
    latent = size("latent_channels", 3)
    architecture = {
        "base_channels": channels[0],
        "channel_multipliers": tuple(count // channels[0] for count in channels),
        "num_res_blocks": size("layers_per_block", 1, 32),
        "latent_channels": latent,
        "attention_levels": {level for level, has in enumerate(attention) if has},
        "middle_attention": attention_in_middle,
        "norm_groups": groups,
        "unit_range": unit_range,
        "embedding_dim": size("vq_embed_dim", latent),
        "codebook_size": size("num_vq_embeddings", 256, 2**20),
    }
    image_size = size("sample_size", 32)
    fits = image_size % 2 ** (len(channels) - 1) == 0
    return architecture, image_size if fits else None


def make_config(tokenizer):
    """The config of an ImageTokenizer with a VectorQuantizer.

    Raises:
        ValueError: if its levels have normalizations of different numbers of groups, of which a
            VQModel has one, or its first level not `base_channels`, as a VQModel's has.
    """
    sizes, quantizer = tokenizer.architecture, tokenizer.quantizer
    if sizes["channel_multipliers"][0] != 1:
        received = f"one of channel_multipliers={sizes['channel_multipliers']}"
        refuse("tokenizer", received, "channel_multipliers that begin with 1")
    channels = [sizes["base_channels"] * m for m in sizes["channel_multipliers"]]
    groups = {math.gcd(sizes["norm_groups"], count) for count in channels}
    if len(groups) > 1:
        received = f"one of {sorted(groups)} groups at levels of {channels} channels"
        refuse("tokenizer", received, "the same norm_groups at every level")
    heights = [tokenizer.image_size[0] // 2**level for level in range(len(channels))]
    attention = ["Attn" * (h in sizes["attention_resolutions"]) for h in heights]
    return {
        "_class_name": "VQModel",
        "act_fn": "silu",
        "block_out_channels": channels,
        "down_block_types": [f"{kind}DownEncoderBlock2D" for kind in attention],
        "up_block_types": [f"{kind}UpDecoderBlock2D" for kind in reversed(attention)],
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": sizes["latent_channels"],
        "layers_per_block": sizes["num_res_blocks"],
        "lookup_from_codebook": sizes["unit_range"],
        "mid_block_add_attention": sizes["middle_attention"],
        "norm_num_groups": groups.pop(),
        "num_vq_embeddings": quantizer.codebook_size,
        "sample_size": tokenizer.image_size[0],
        "vq_embed_dim": quantizer.embedding_dim,
    }

"""diffusers' VQModel folders, both ways: config.json and diffusion_pytorch_model.safetensors."""

import json
import re
from pathlib import Path

import numpy as np

from keras_regvq.presets.taming import build_tokenizer
from keras_regvq.presets.tensor_names import assign_all, taming_tensors
from keras_regvq.quantizers import VectorQuantizer
from keras_regvq.validation import check_integer, describe, refuse

WEIGHTS = "diffusion_pytorch_model.safetensors"
_OLD_ATTENTION = {
    "query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0",
}  # fmt: skip
_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


def diffusers_name(name, levels):
    """taming's name of a tensor -> diffusers', for a model of so many levels."""
    if name.startswith(("quant_conv", "post_quant_conv", "quantize")):
        return name

    def up(match):  # counted in the order of running
        return f"decoder.up_blocks.{levels - 1 - int(match[1])}."

    name = re.sub(r"^decoder\.up\.(\d+)\.", up, name)
    name = re.sub(r"^encoder\.down\.(\d+)\.", r"encoder.down_blocks.\1.", name)
    name = re.sub(r"\.block\.(\d+)\.", r".resnets.\1.", name)
    name = re.sub(r"\.mid\.block_([12])\.", lambda m: f".mid_block.resnets.{int(m[1]) - 1}.", name)
    name = name.replace(".nin_shortcut.", ".conv_shortcut.").replace(
        ".norm_out.", ".conv_norm_out."
    )
    name = name.replace(".downsample.conv.", ".downsamplers.0.conv.")
    name = name.replace(".upsample.conv.", ".upsamplers.0.conv.")
    match = re.fullmatch(r"(.*)\.(?:attn\.(\d+)|mid\.attn_1)\.(\w+)\.(weight|bias)", name)
    if match:
        block, number, part, kind = match.groups()
        block = f"{block}.attentions.{number}" if number else f"{block}.mid_block.attentions.0"
        name = f"{block}.{_ATTENTION[part]}.{kind}"
    return name


def _diffusers_tensors(tokenizer):
    """What `taming_tensors` lists, by diffusers' names; attention is linear there."""
    levels = len(tokenizer.architecture["channel_multipliers"])
    found = []
    for tensor in taming_tensors(tokenizer):
        name = diffusers_name(tensor.name, levels)
        linear = ".attentions." in name and len(tensor.shape) == 4
        found.append((name, tensor, tensor.shape[:2] if linear else tensor.shape))
    return found


def load_diffusers(directory, load_weights=True, image_size=None):
    """Turn a diffusers VQModel folder into a tokenizer.

    Args:
        directory: with config.json and diffusion_pytorch_model.safetensors.
        load_weights: False: random weights.
        image_size: int or (H, W); default the config's sample_size.

    Returns:
        the ImageTokenizer.

    Raises:
        ValueError: for a config of another model or of a kind that is not supported, and for
            tensors that are missing, left over or misshapen; nothing is half-loaded.
        ImportError: without the package safetensors.
    """
    directory = Path(directory)
    config = read_config(directory / "config.json")
    source = str(directory)
    architecture, sample_size = _architecture(config, source)
    tokenizer = build_tokenizer(architecture, False, image_size or sample_size)
    if load_weights:
        wanted = _diffusers_tensors(tokenizer)
        tensors = read_safetensors(directory / WEIGHTS)
        tensors = {_current_name(name): value for name, value in tensors.items()}
        for name, tensor, shape in wanted:
            if name in tensors and tuple(tensors[name].shape) == shape:
                tensors[name] = tensors[name].reshape(tensor.shape)
        assign_all([t._replace(name=name) for name, t, _ in wanted], tensors, source)
    return tokenizer


def read_config(path):
    """The dict of a config.json."""
    try:
        config = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        refuse("preset", f"{str(path)!r}, which cannot be read ({error})", "a JSON file")
    if not isinstance(config, dict):
        refuse("preset", f"{str(path)!r}, which holds a {type(config).__name__}", "a JSON object")
    return config


def _current_name(name):
    """The name of today for that of a file from before diffusers 0.15."""
    match = re.fullmatch(r"(.*\.attentions\.\d+)\.(\w+)\.(weight|bias)", name)
    if match and match[2] in _OLD_ATTENTION:
        return f"{match[1]}.{_OLD_ATTENTION[match[2]]}.{match[3]}"
    return name


def _architecture(config, source):
    """(architecture, image_size) of `build_tokenizer`."""

    def take(name, default):
        return config.get(name, default)

    for name, only in (
        ("in_channels", 3), ("out_channels", 3), ("norm_num_groups", 32), ("norm_type", "group"),
        ("act_fn", "silu"), ("lookup_from_codebook", False),
    ):  # fmt: skip
        if take(name, only) != only:
            refuse("preset", f"{source}, with {name}={take(name, only)!r}", f"{name}={only!r}")
    channels = [_size(c, "block_out_channels", source) for c in take("block_out_channels", (64,))]
    levels = len(channels)
    downs, ups = (
        list(take(f"{way}_block_types", (f"{kind}Block2D",)))
        for way, kind in (("down", "DownEncoder"), ("up", "UpDecoder"))
    )
    plain = {"DownEncoderBlock2D": False, "AttnDownEncoderBlock2D": True}
    plain |= {"UpDecoderBlock2D": False, "AttnUpDecoderBlock2D": True}
    if not levels or len(downs) != levels or len(ups) != levels or set(downs + ups) - set(plain):
        expected = f"{levels} blocks each way, of the kinds {', '.join(plain)}"
        refuse("preset", f"{source}, with blocks {downs} and {ups}", expected)
    attention = [plain[kind] for kind in downs]
    if attention != [plain[kind] for kind in reversed(ups)]:
        expected = "attention at the same resolutions in encoder and decoder"
        refuse("preset", f"{source}, with blocks {downs} and {ups}", expected)
    if any(count % channels[0] for count in channels):
        refuse("preset", f"{source}, with channels {channels}", f"multiples of {channels[0]}")
    latent = _size(take("latent_channels", 3), "latent_channels", source)
    architecture = {
        "base_channels": channels[0],
        "channel_multipliers": tuple(count // channels[0] for count in channels),
        "num_res_blocks": _size(take("layers_per_block", 1), "layers_per_block", source),
        "latent_channels": latent,
        "attention_levels": {level for level, has in enumerate(attention) if has},
        "middle_attention": bool(take("mid_block_add_attention", True)),
        "embedding_dim": _size(take("vq_embed_dim", None) or latent, "vq_embed_dim", source),
        "codebook_size": _size(take("num_vq_embeddings", 256), "num_vq_embeddings", source),
    }
    factor = 2 ** (levels - 1)
    size = _size(take("sample_size", 32), "sample_size", source)
    return architecture, size if size % factor == 0 else None


def _size(value, name, source):
    """A size within what any real model has: 10^12 parameters are not even tried."""
    try:
        value = check_integer(name, value, 1)
    except ValueError as error:
        refuse("preset", f"{source}: {error}", "a config.json of diffusers' VQModel")
    limit = 2**20 if name == "num_vq_embeddings" else 2**14
    if value > limit:
        refuse("preset", f"{source}, with {name}={value}", f"at most {limit}")
    return value


def read_safetensors(path):
    """{name: array} of a file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        refuse("preset", f"{str(path.parent)!r} without {path.name}", "a folder with both files")
    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        refuse("preset", f"{str(path)!r}, which cannot be read ({error})", "an intact file")


def export_diffusers(tokenizer, directory):
    """Write a tokenizer as a folder that diffusers' `VQModel.from_pretrained` reads.

    Args:
        tokenizer: an ImageTokenizer with a VectorQuantizer.
        directory: made if missing.
    """
    if not isinstance(tokenizer.quantizer, VectorQuantizer):
        refuse("tokenizer", f"one with {describe(tokenizer.quantizer)}", "a VectorQuantizer")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    sizes, quantizer = tokenizer.architecture, tokenizer.quantizer
    heights = [tokenizer.image_size[0] // 2**i for i in range(len(sizes["channel_multipliers"]))]
    attention = ["Attn" * (h in sizes["attention_resolutions"]) for h in heights]
    config = {
        "_class_name": "VQModel",
        "act_fn": "silu",
        "block_out_channels": [sizes["base_channels"] * m for m in sizes["channel_multipliers"]],
        "down_block_types": [f"{kind}DownEncoderBlock2D" for kind in attention],
        "up_block_types": [f"{kind}UpDecoderBlock2D" for kind in reversed(attention)],
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": sizes["latent_channels"],
        "layers_per_block": sizes["num_res_blocks"],
        "mid_block_add_attention": sizes["middle_attention"],
        "norm_num_groups": 32,
        "num_vq_embeddings": quantizer.codebook_size,
        "sample_size": tokenizer.image_size[0],
        "vq_embed_dim": quantizer.embedding_dim,
    }
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tensors = {
        name: np.ascontiguousarray(tensor.to_file().reshape(shape))
        for name, tensor, shape in _diffusers_tensors(tokenizer)
    }
    write_safetensors(tensors, directory / WEIGHTS)


def write_safetensors(tensors, path):
    """Write {name: array} as PyTorch projects read it."""
    from safetensors.numpy import save_file

    save_file(tensors, path, metadata={"format": "pt"})

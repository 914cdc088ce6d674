"""MaskGIT's image tokenizers as open-muse publishes them, both ways: `MaskGitVQGAN`.

Source: https://github.com/huggingface/open-muse, muse/modeling_maskgit_vqgan.py.
"""

import json

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.files.replacing import write_text
from keras_regvq.files.safetensors_files import write_safetensors
from keras_regvq.files.settings_files import read_json
from keras_regvq.files.updating import updating_directory
from keras_regvq.presets.formats.architecture import build_tokenizer, infer_architecture
from keras_regvq.presets.formats.checkpoint_format import Checkpoint, CheckpointFormat
from keras_regvq.presets.formats.maskgit_network import (
    BLOCKS,
    from_vqgan,
    published_shapes,
    to_vqgan,
)
from keras_regvq.presets.formats.named_tensors import NamedTensor, assign_all, check_tensors
from keras_regvq.presets.formats.state_dicts import all_names, find_state
from keras_regvq.presets.formats.taming import check_groups
from keras_regvq.presets.formats.vqgan_names import network_tensors
from keras_regvq.quantizers import VectorQuantizer

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_CLASS = "MaskGitVQGAN"
FILES = (WEIGHTS, "pytorch_model.safetensors", "pytorch_model.bin")  # in this order
_MARKS = ("encoder.mid.0.conv1.weight", "encoder.down.0.block.0.conv1.weight")
# The config's names, and what `infer_architecture` calls the same.
_SIZES = {
    "hidden_channels": "base_channels",
    "channel_mult": "channel_multipliers",
    "num_res_blocks": "num_res_blocks",
    "z_channels": "latent_channels",
    "num_embeddings": "codebook_size",
    "quantized_embed_dim": "embedding_dim",
}


class OpenMuse(CheckpointFormat):
    """Folders of open-muse's MaskGitVQGAN, and its weights by themselves."""

    name = "open_muse"

    def matches(self, checkpoint):
        if checkpoint.is_file:
            names = all_names(checkpoint.contents)
            return all(any(f".{name}".endswith(f".{mark}") for name in names) for mark in _MARKS)
        config = checkpoint.path / CONFIG
        return config.is_file() and is_config(read_json(config, "preset"))

    def load(self, checkpoint, image_size=None, config=None):
        if checkpoint.is_file:
            return load_open_muse(checkpoint.contents, checkpoint.source, image_size)
        folder = checkpoint.path
        file = next((folder / name for name in FILES if (folder / name).is_file()), None)
        if file is None:
            expected = f"one of {', '.join(FILES)} in it"
            refuse("preset", f"{checkpoint.source} without weights", expected)
        settings = read_json(folder / CONFIG, "preset")
        weights = Checkpoint(file)
        return load_open_muse(weights.contents, weights.source, image_size, settings)

    def save(self, tokenizer, directory):
        tensors, config = open_muse_state_dict(tokenizer), make_config(tokenizer)
        with updating_directory(directory, (CONFIG, WEIGHTS)) as part:
            write_text(part / CONFIG, json.dumps(config, indent=2) + "\n")
            write_safetensors(tensors, part / WEIGHTS)
        return directory / WEIGHTS


def is_config(config):
    """Whether a config.json is a MaskGitVQGAN's."""
    return config.get("_class_name") == _CLASS


def load_open_muse(checkpoint, source="the checkpoint", image_size=None, config=None):
    """Turn a MaskGitVQGAN into a tokenizer of the same tokens and images.

    Args:
        checkpoint: what its file held.
        source: what to call it in errors.
        image_size: int or (H, W); default the config's resolution, or 16 tokens a side.
        config: its config.json, a dict, if there is one: it must agree with the tensors.

    Returns:
        the ImageTokenizer, and the names of the tensors that were not needed.

    Raises:
        ValueError: if tensors are missing, left over, misshapen or not finite, and for a network
            that has no equal among VQ-GANs; nothing is half-loaded.
    """
    state = find_state(checkpoint, source)
    shapes = {name: tuple(value.shape) for name, value in state.tensors.items()}
    architecture = infer_architecture(shapes, source)
    blocks, latent = architecture["num_res_blocks"], architecture["latent_channels"]
    if blocks != BLOCKS:
        received = f"{source}, with {blocks} residual blocks a level, and so in the middle"
        refuse("checkpoint", received, f"{BLOCKS}, which is what a VQ-GAN has in the middle")
    if latent != architecture["embedding_dim"]:
        received = f"{source}, with {latent} latent channels and codes of another width"
        refuse("checkpoint", received, f"codes {latent} wide")
    image_size = _agreed_size(config or {}, architecture, source, image_size)
    published = published_shapes(architecture)
    check_tensors(published, state.tensors, source)
    tokenizer = build_tokenizer({**architecture, "unit_range": True}, image_size=image_size)
    wanted = _vqgan_tensors(tokenizer)
    tensors = to_vqgan(state.tensors, {tensor.name: tensor.shape for tensor in wanted})
    assign_all(wanted, tensors, source)
    return tokenizer, sorted(state.rest) + state.beside


def open_muse_state_dict(tokenizer):
    """{open-muse's name: float32 array} of a tokenizer whose network is MaskGIT's.

    Raises:
        ValueError: for another tokenizer; a trained one has weights that MaskGIT has not.
    """
    quantizer, sizes = tokenizer.quantizer, tokenizer.architecture
    if not isinstance(quantizer, VectorQuantizer) or quantizer.normalize:
        received = f"one with {describe(quantizer)}"
        refuse("tokenizer", received, "a VectorQuantizer without normalize=True")
    same = {"num_res_blocks": BLOCKS, "latent_channels": quantizer.embedding_dim}
    for name, value in same.items():
        if sizes[name] != value:
            refuse("tokenizer", f"one of {name}={sizes[name]}", f"{name}={value}, as of MaskGIT's")
    check_groups(tokenizer)
    tensors = {tensor.name: tensor.to_file() for tensor in _vqgan_tensors(tokenizer)}
    if any("attn" in name for name in tensors):
        refuse("tokenizer", "one with attention", "one without, as MaskGIT's")
    return from_vqgan(tensors, published_shapes(_architecture(tokenizer)))


def make_config(tokenizer):
    """The config.json of a tokenizer, as `MaskGitVQGAN.from_pretrained` reads it."""
    architecture = _architecture(tokenizer)
    sizes = {theirs: architecture[ours] for theirs, ours in _SIZES.items()}
    size = tokenizer.image_size[0]
    return {"_class_name": _CLASS, "num_channels": 3, "resolution": size, **sizes}


def _architecture(tokenizer):
    quantizer = tokenizer.quantizer
    codes = {"codebook_size": quantizer.codebook_size, "embedding_dim": quantizer.embedding_dim}
    return {**tokenizer.architecture, **codes}


def _vqgan_tensors(tokenizer):
    codebook = tokenizer.quantizer.codebook
    codes = NamedTensor("quantize.embedding.weight", codebook, tuple(codebook.shape))
    return [*network_tensors(tokenizer, unit_range=True), codes]


def _agreed_size(config, architecture, source, image_size):
    """The image size, once a config has been found to tell of the same network as the tensors."""
    for theirs, ours in _SIZES.items():
        value = config.get(theirs)
        value = tuple(value) if isinstance(value, list) else value
        if value is not None and value != architecture[ours]:
            received = f"{source}, with a config of {theirs}={value!r:.80}"
            refuse("preset", received, f"the {theirs} of its tensors, {architecture[ours]}")
    resolution = config.get("resolution")
    factor = 2 ** (len(architecture["channel_multipliers"]) - 1)
    fits = type(resolution) is int and 0 < resolution <= 2**14 and resolution % factor == 0
    return resolution if image_size is None and fits else image_size

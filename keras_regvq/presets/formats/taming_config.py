"""The YAML configs of taming-transformers: what the tensors of a checkpoint do not tell.

SEED-Voken's are the same under the names of Lightning's command line, "class_path" and "init_args"
for "target" and "params".
"""

import reprlib
from typing import NamedTuple

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.files.reading import reading
from keras_regvq.files.settings_files import read_yaml

# ImageTokenizer's names of what a config names otherwise, in ddconfig and beside it.
_NETWORK = {
    "ch": "base_channels",
    "ch_mult": "channel_multipliers",
    "num_res_blocks": "num_res_blocks",
    "z_channels": "latent_channels",
}
_MOST_LEVELS = 32
_EXPECTED = "a model's YAML of taming-transformers"
_CODEBOOK = {"embed_dim": "embedding_dim", "n_embed": "codebook_size"}


class TamingConfig(NamedTuple):
    """What a config says of the tokenizer of images, and of a transformer over its tokens."""

    path: str
    image_size: int
    architecture: dict  # as `infer_architecture` finds it in tensors
    num_heads: int | None
    num_classes: int | None
    tokenizer_class: str  # what the project's code calls it, "" if the file does not say
    uses_averages: bool  # whether the averages of the weights are what the project evaluates

    def check(self, architecture):
        """Refuse a checkpoint of another architecture."""
        for name, value in self.architecture.items():
            if value != architecture[name]:
                received = f"{self.path!r}, with {name} {reprlib.repr(value)}"
                refuse("config", received, f"the checkpoint's {name}, {architecture[name]}")


def read_taming_config(path):
    """Read a config of a VQ-GAN, a Gumbel-VQ or a Net2Net.

    Args:
        path: the YAML file.

    Returns:
        TamingConfig.

    Raises:
        ValueError: if it cannot be read, or something needed is missing or not supported.
    """
    path = str(path)
    with reading(path, _EXPECTED, "config"):
        model = read_yaml(path, "config", _EXPECTED)["model"]
        params = model["init_args" if "init_args" in model else "params"]
        first = params.get("first_stage_config", {**model, "params": params})
        tokenizer, kind = first["params"], str(first.get("class_path", first.get("target", "")))
        network = tokenizer["ddconfig"]
        image_size = check_positive_integer("resolution", network["resolution"])
        attention = network["attn_resolutions"]
        architecture = {ours: network[theirs] for theirs, ours in _NETWORK.items()}
        architecture |= {ours: tokenizer[theirs] for theirs, ours in _CODEBOOK.items()}
        architecture["channel_multipliers"] = tuple(architecture["channel_multipliers"])
        levels = len(network["ch_mult"])
        if not 1 <= levels <= _MOST_LEVELS or image_size % 2 ** (levels - 1):
            raise ValueError(f"{levels} levels, and images of {image_size} pixels")
        sides = [image_size // 2**level for level in range(levels)]
        architecture["attention_levels"] = {sides.index(s) for s in attention if s in sides}
        heads = params.get("transformer_config", {"params": {}})["params"].get("n_head")
        condition = params.get("cond_stage_config")
        classes = condition["params"].get("n_classes") if isinstance(condition, dict) else None
        for name, value in (("n_head", heads), ("n_classes", classes)):
            if value is not None:
                check_positive_integer(name, value)
    if network.get("double_z", False):
        refuse("config", f"{path!r} with double_z", "a VQ-GAN: this one is a KL autoencoder")
    averages = bool(tokenizer.get("use_ema", False))
    return TamingConfig(path, image_size, architecture, heads, classes, kind, averages)

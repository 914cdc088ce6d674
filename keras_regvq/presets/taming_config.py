"""The YAML configs of taming-transformers: what the tensors of a checkpoint do not tell."""

from pathlib import Path
from typing import NamedTuple

import yaml

from keras_regvq.validation import refuse

# ImageTokenizer's names of what a config names otherwise, in ddconfig and beside it.
_NETWORK = {
    "ch": "base_channels",
    "ch_mult": "channel_multipliers",
    "num_res_blocks": "num_res_blocks",
    "z_channels": "latent_channels",
}
_CODEBOOK = {"embed_dim": "embedding_dim", "n_embed": "codebook_size"}


class TamingConfig(NamedTuple):
    """What a config says of the tokenizer of images, and of a transformer over its tokens."""

    path: str
    image_size: int
    architecture: dict  # as `infer_architecture` finds it in tensors
    num_heads: int | None
    num_classes: int | None

    def check(self, architecture):
        """Refuse a checkpoint of another architecture."""
        for name, value in self.architecture.items():
            if value != architecture[name]:
                received = f"{self.path!r}, with {name} {value}"
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
    try:
        params = yaml.safe_load(Path(path).read_text())["model"]["params"]
        tokenizer = params.get("first_stage_config", {"params": params})["params"]
        network = tokenizer["ddconfig"]
        image_size, attention = network["resolution"], network["attn_resolutions"]
        architecture = {ours: network[theirs] for theirs, ours in _NETWORK.items()}
        architecture |= {ours: tokenizer[theirs] for theirs, ours in _CODEBOOK.items()}
        architecture["channel_multipliers"] = tuple(architecture["channel_multipliers"])
        sides = [image_size // 2**level for level in range(len(network["ch_mult"]))]
        architecture["attention_levels"] = {sides.index(s) for s in attention if s in sides}
        heads = params.get("transformer_config", {"params": {}})["params"].get("n_head")
        condition = params.get("cond_stage_config")
        classes = condition["params"].get("n_classes") if isinstance(condition, dict) else None
    except (OSError, yaml.YAMLError, UnicodeError, LookupError, TypeError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        refuse("config", f"{path!r} ({reason})", "a model's YAML of taming-transformers")
    if network.get("double_z", False):
        refuse("config", f"{path!r} with double_z", "a VQ-GAN: this one is a KL autoencoder")
    return TamingConfig(path, image_size, architecture, heads, classes)

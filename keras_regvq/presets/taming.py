"""VQ-GAN and Gumbel-VQ checkpoints of taming-transformers, both ways."""

import re

from keras_regvq.models import ImageTokenizer
from keras_regvq.presets.taming_config import read_taming_config
from keras_regvq.presets.tensor_names import assign_all, taming_tensors
from keras_regvq.quantizers import GumbelQuantizer, VectorQuantizer
from keras_regvq.validation import refuse

_PARTS = ("encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv.")
# A Net2Net checkpoint holds the tokenizer of its images as `first_stage_model`.
_PREFIXES = ("", "first_stage_model.")
_MOST_CHANNELS = 16_384  # what no checkpoint has: a file that asks for more is refused


def split_checkpoint(checkpoint, source, prefixes=_PREFIXES):
    """The tokenizer's tensors of a checkpoint, by taming's names, and what else it holds.

    Args:
        checkpoint: what the file held: a state dict, or a dict with one as "state_dict".
        source: what to call it in errors.
        prefixes: what the names may start with; the first that fits is it.

    Returns:
        ({name: array}, {name: array}).
    """
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else {}
    state = {name: value for name, value in state.items() if hasattr(value, "shape")}
    for prefix in prefixes:
        starts = tuple(prefix + part for part in _PARTS)
        ours = {name: value for name, value in state.items() if name.startswith(starts)}
        if f"{prefix}encoder.conv_in.weight" in ours:
            rest = {name: value for name, value in state.items() if name not in ours}
            return {name.removeprefix(prefix): value for name, value in ours.items()}, rest
    some = ", ".join(list(state)[:3]) or "no tensors"
    expected = 'a checkpoint of taming-transformers, with "encoder.conv_in.weight"'
    refuse("checkpoint", f"{source}, which holds {some}", expected)


def infer_architecture(shapes, source):
    """`ImageTokenizer`'s arguments, from the shapes of a checkpoint's tensors.

    Which levels have attention is seen in the names; at what image size it is placed there is not,
    and makes no difference to the weights.

    Args:
        shapes: {taming's name: shape}.
        source: what to call the file in errors.

    Returns:
        dict: "base_channels", "channel_multipliers", "num_res_blocks", "latent_channels",
        "attention_levels" (a set), "embedding_dim" and "codebook_size".
    """

    def outputs(name):
        shape = shapes.get(f"{name}.weight")
        if shape is None or not len(shape) or not 0 < shape[0] <= _MOST_CHANNELS:
            received = "lacks it" if shape is None else f"has it with shape {tuple(shape)}"
            refuse("checkpoint", f"{source}, which {received}", f"a tensor {name}.weight")
        return int(shape[0])

    def highest(pattern):
        found = [int(m[1]) for name in shapes if (m := re.match(pattern, name))]
        if not found or max(found) >= 32:
            refuse("checkpoint", source, f"encoder tensors {pattern}, numbered below 32")
        return max(found)

    base = outputs("encoder.conv_in")
    levels = range(highest(r"encoder\.down\.(\d+)\.") + 1)
    channels = [outputs(f"encoder.down.{level}.block.0.conv1") for level in levels]
    if any(count % base for count in channels):
        refuse("checkpoint", f"{source}, with {channels} channels", f"multiples of {base}")
    codebook = "quantize.embed.weight" if "quantize.embed.weight" in shapes else (
        "quantize.embedding.weight"
    )  # fmt: skip
    shape = shapes.get(codebook, ())
    if len(shape) != 2:
        refuse("checkpoint", f"{source}, with {codebook} of shape {shape}", "a codebook (N, d)")
    attention = {level for level in levels if f"encoder.down.{level}.attn.0.norm.weight" in shapes}
    return {
        "base_channels": base,
        "channel_multipliers": tuple(count // base for count in channels),
        "num_res_blocks": highest(r"encoder\.down\.0\.block\.(\d+)\.") + 1,
        "latent_channels": outputs("encoder.conv_out"),
        "attention_levels": attention,
        "embedding_dim": int(shape[1]),
        "codebook_size": int(shape[0]),
    }


def build_tokenizer(architecture, gumbel=False, image_size=None, **quantizer_options):
    """An ImageTokenizer of what `infer_architecture` found.

    Args:
        image_size: int or (H, W); default 16 tokens a side.
        gumbel: whether the quantizer is Gumbel-VQ's.
        **quantizer_options: of the quantizer.
    """
    settings = dict(architecture)
    levels = settings.pop("attention_levels")
    size = settings.pop("codebook_size"), settings.pop("embedding_dim")
    if image_size is None:
        image_size = 16 * 2 ** (len(settings["channel_multipliers"]) - 1)
    height = image_size if isinstance(image_size, int) else image_size[0]
    quantizer = (GumbelQuantizer if gumbel else VectorQuantizer)(*size, **quantizer_options)
    attention = tuple(height // 2**level for level in sorted(levels))
    return ImageTokenizer(image_size, quantizer, attention_resolutions=attention, **settings)


def load_taming(checkpoint, source="the checkpoint", image_size=None, config=None):
    """Turn a checkpoint of taming-transformers into a tokenizer.

    Args:
        checkpoint: what `torch_files.read_torch_file` read: with or without the loss networks, or
            a Net2Net's, of which the tokenizer of its images is taken.
        source: what to call it in errors.
        image_size: int or (H, W) that the tokenizer is for; default the config's resolution, or 16
            tokens a side. Weights do not depend on it.
        config: path of the model's YAML file, which must agree with the tensors.

    Returns:
        the ImageTokenizer, and the names of the tensors that were not needed.

    Raises:
        ValueError: if tensors are missing, left over or misshapen; nothing is half-loaded.
    """
    tensors, rest = split_checkpoint(checkpoint, source)
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    architecture = infer_architecture(shapes, source)
    if config is not None:
        config = read_taming_config(config)
        config.check(architecture)
        image_size = image_size or config.image_size
    tokenizer = build_tokenizer(architecture, "quantize.embed.weight" in shapes, image_size)
    assign_all(taming_tensors(tokenizer), tensors, source)
    return tokenizer, sorted(rest)


def taming_state_dict(tokenizer):
    """{taming's name: float32 array} of a tokenizer: what `load_taming` reads."""
    return {tensor.name: tensor.to_file() for tensor in taming_tensors(tokenizer)}

"""The transformers of taming-transformers' Net2Net checkpoints (its minGPT).

A Net2Net is a prior beside its tokenizer, and so no `CheckpointFormat`: `Taming` reads the
tokenizer alone.
"""

import re

import numpy as np

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.models import AutoregressivePrior, LabelMapTokenizer, TokenCondition
from keras_regvq.presets.formats.architecture import check_size, infer_architecture
from keras_regvq.presets.formats.checkpoint_format import Checkpoint
from keras_regvq.presets.formats.named_tensors import LinearTensor, NamedTensor, assign_all
from keras_regvq.presets.formats.state_dicts import MAPS, find_state
from keras_regvq.presets.formats.taming import load_taming
from keras_regvq.presets.formats.taming_config import read_taming_config
from keras_regvq.presets.formats.vqgan_names import taming_tensors
from keras_regvq.quantizers import VectorQuantizer

_PREFIX = "transformer."


def load_net2net(location, num_heads=None, num_classes=None, image_size=None, config=None):
    """Load the tokenizer of a Net2Net checkpoint's images and the prior over their tokens.

    With a model of label maps in the checkpoint the prior is conditioned on maps, and
    `models.SemanticToImage(tokenizer, prior)` generates images of them; with `num_classes`, on a
    class; else on nothing. The transformer's logits beyond the tokenizer's codes are left out.

    Args:
        location: the checkpoint, as of `load_foreign`. A pickle is never executed:
            `files.torch_pickle`.
        num_heads: of the transformer, the config's `n_head`: the tensors do not tell.
        num_classes: of a class-conditional checkpoint.
        image_size: int or (H, W) that it was trained for; default 16 tokens a side.
        config: path of the model's YAML file, which tells all three.

    Returns:
        an ImageTokenizer, an AutoregressivePrior, and the names of the tensors that were not needed
        (loss networks).

    Raises:
        ValueError: if tensors are missing, left over or misshapen, or an argument does not fit.

    Example:
        ```python norun
        tokenizer, prior, left_aside = keras_regvq.presets.load_net2net(
            "net2net.ckpt", config="net2net.yaml"
        )
        model = keras_regvq.models.SemanticToImage(tokenizer, prior)
        ```
    """
    file = Checkpoint(location)
    checkpoint, source = file.contents, file.source
    if config is not None:
        said = read_taming_config(config)
        num_heads, num_classes = num_heads or said.num_heads, num_classes or said.num_classes
    tokenizer, _ = load_taming(checkpoint, source, image_size, config)
    state = find_state(checkpoint, source)
    rest = {name.removeprefix(state.outer): value for name, value in state.rest.items()}
    transformer = {
        name.removeprefix(_PREFIX): value
        for name, value in rest.items()
        if name.startswith(_PREFIX) and not name.endswith(".attn.mask")  # a constant
    }
    tables = [getattr(transformer.get(name), "ndim", 0) for name in ("tok_emb.weight", "pos_emb")]
    if tables != [2, 3] or not transformer["tok_emb.weight"].size:
        received = f"{source} without the tables of a transformer"
        refuse("checkpoint", received, "transformer.tok_emb.weight (V, D) and pos_emb (1, T, D)")
    maps = None
    if any(name.startswith("cond_stage_model.encoder.") for name in rest):
        if num_classes is not None:
            refuse("num_classes", num_classes, f"None: the condition of {source} is a label map")
        maps = _load_map_tokenizer(checkpoint, state.outer, tokenizer.image_size, source)
    vocabulary, width = transformer["tok_emb.weight"].shape
    needed = max(tokenizer.codebook_size, num_classes or 0, maps.codebook_size if maps else 0)
    if vocabulary < needed:
        refuse("checkpoint", f"{source} with {vocabulary} tokens", f"at least {needed} tokens")
    if width % check_positive_integer("num_heads", num_heads):
        refuse("num_heads", num_heads, f"a divisor of the transformer's width {width}")
    condition = None
    if maps is not None or num_classes is not None:
        condition = TokenCondition(vocabulary if maps is not None else num_classes, maps)
    blocks = {m[1] for name in transformer if (m := re.match(r"blocks\.(\d{1,9})\.", name))}
    _check_room(transformer, tokenizer, condition, width, len(blocks), source)
    prior = AutoregressivePrior(
        tokenizer.codebook_size,
        tokenizer.token_grid,
        len(blocks),
        num_heads,
        width,
        condition,
        position_embedding="full",
        activation="gelu",
    )
    assign_all(_wanted(prior), _rearranged(transformer, prior, source), source)
    parts = (_PREFIX, "cond_stage_model.encoder.", "cond_stage_model.decoder.")
    parts += ("cond_stage_model.quant", "cond_stage_model.post_quant")
    left = [name for name in rest if not name.startswith(parts)]
    return tokenizer, prior, sorted(left) + state.beside


def _load_map_tokenizer(checkpoint, outer, image_size, source):
    tensors = find_state(checkpoint, source, outer + MAPS).tensors
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    architecture = infer_architecture(shapes, source)
    classes = shapes["encoder.conv_in.weight"][1]
    if not classes:
        refuse("checkpoint", f"{source}, whose label maps have no labels", "at least one")
    check_size(architecture, tensors, source, classes)
    if not architecture.pop("middle_attention"):
        refuse("checkpoint", f"{source}, without that for label maps", "attention in the middle")
    levels = architecture.pop("attention_levels")
    codes = architecture.pop("codebook_size"), architecture.pop("embedding_dim")
    maps = LabelMapTokenizer(
        classes,
        image_size,
        VectorQuantizer(*codes),
        attention_resolutions=tuple(image_size[0] // 2**level for level in sorted(levels)),
        **architecture,
    )
    assign_all(taming_tensors(maps), tensors, source)
    return maps


def _check_room(transformer, tokenizer, condition, width, blocks, source):
    """Refuse an image that the positions do not reach over, and forged sizes, before a prior is
    built of them."""
    positions, head = transformer["pos_emb"].shape[:2], transformer.get("head.weight")
    before = 0 if condition is None else condition.prefix_length
    needed = before + tokenizer.token_grid[0] * tokenizer.token_grid[1]
    if positions[0] != 1 or positions[1] < needed or getattr(head, "ndim", 0) != 2:
        received = (
            f"{source} with {positions[1]} positions and {'no' if head is None else 'a'} head"
        )
        refuse("checkpoint", received, f"a head, and {needed} positions or more")
    there = sum(tensor.size for tensor in transformer.values())
    if 12 * width * width * blocks > 4 * there + 10**6:
        received = f"{source}, whose transformer has {there:,} numbers"
        refuse("checkpoint", received, f"{blocks} blocks of width {width}, by its names")


def _rearranged(transformer, prior, source):
    """The transformer's tensors with its two tables cut into what `prior` has in their place."""
    tensors = dict(transformer)
    tokens, positions = tensors.pop("tok_emb.weight"), tensors.pop("pos_emb")[0]
    head = tensors.pop("head.weight")
    condition, length, codes = prior.condition, prior.length, prior.codebook_size
    before = 0 if condition is None else condition.prefix_length
    # Without a condition a sequence starts with token 0, else with the condition's last.
    start = tokens[:1] if condition is None else np.zeros_like(tokens[:1])
    tensors["tok_emb of images"] = np.concatenate([tokens[:codes], start])
    tensors["pos_emb of images"] = positions[before : before + length]
    tensors["head.weight"] = head[:codes]
    if condition is not None:
        tensors["tok_emb of conditions"] = tokens[: condition.vocabulary_size]
    if before:
        tensors["pos_emb of conditions"] = positions[:before]
    return tensors


def _wanted(prior):
    """The prior's weights as NamedTensors."""

    def whole(name, variable):
        return [NamedTensor(name, variable, tuple(variable.shape))]

    found = whole("tok_emb of images", prior.embedding.embeddings)
    found += whole("pos_emb of images", prior.positions.cells)
    if prior.condition is not None:
        found += whole("tok_emb of conditions", prior.condition.embedding.embeddings)
        if prior.condition.positions is not None:
            found += whole("pos_emb of conditions", prior.condition.positions.embeddings)
    width = prior.hidden_dim

    def linear(name, dense, outputs=width, inputs=width):
        return [
            LinearTensor(f"{name}.weight", dense.kernel, (outputs, inputs)),
            NamedTensor(f"{name}.bias", dense.bias, (outputs,)),
        ]

    def norm(name, layer):
        return whole(f"{name}.weight", layer.gamma) + whole(f"{name}.bias", layer.beta)

    for index, block in enumerate(prior.blocks):
        parts, name = block.parts(), f"blocks.{index}"
        found += norm(f"{name}.ln1", parts.attention_norm)
        found += norm(f"{name}.ln2", parts.feedforward_norm)
        for part in ("query", "key", "value"):
            found += linear(f"{name}.attn.{part}", getattr(parts, part))
        found += linear(f"{name}.attn.proj", parts.attention_output)
        found += linear(f"{name}.mlp.0", parts.feedforward_hidden, 4 * width)
        found += linear(f"{name}.mlp.2", parts.feedforward_output, width, 4 * width)
    head = LinearTensor("head.weight", prior.head.kernel, (prior.codebook_size, width))
    return [*found, *norm("ln_f", prior.norm), head]

"""Where in a checkpoint the tensors of a tokenizer are.

Trainers wrap what they save: in dicts ("state_dict", "model", "ema"), in prefixes of names
("module." of DistributedDataParallel, "_orig_mod." of torch.compile, "first_stage_model."), and
beside optimizers, loss networks, and the bookkeeping of averaged codebooks.
"""

import re
from typing import NamedTuple

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.safetensors_files import write_safetensors

# Parts of names that wrappers put anywhere among the others.
_WRAPPERS = {
    "module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
}  # fmt: skip
_MARK = "encoder.conv_in.weight"  # of all of these projects
_PARTS = ("encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv.")
_IMAGES, MAPS = "first_stage_model.", "cond_stage_model."  # of a Net2Net checkpoint
# What training keeps of a codebook, and no use of it needs.
_BOOKKEEPING = re.compile(
    r"quantize\.(.*\.)?(cluster_size|embed_avg|embedding_avg|initted|inited|codebook_used|"
    r"codebook_usage|usage|ema_\w+|N|m)|.*\.num_batches_tracked"
)
_AVERAGES = {"ema", "averaged", "swa"}
_DEPTH = 4  # dicts in dicts


class State(NamedTuple):
    """The tensors of a checkpoint that holds a tokenizer."""

    tensors: dict  # {taming's or LlamaGen's name: array}, the tokenizer's
    rest: dict  # {name: array} beside them in the same dict
    outer: str  # what the names of a whole model start with, such as a Net2Net's
    beside: list  # keys of other dicts that hold tensors


def plain_name(name):
    """The name of a tensor without the parts that wrappers of modules put into it."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def plain_names(tensors, source):
    """{plain name: tensor}; two tensors of one plain name are refused."""
    found = {}
    for name, value in tensors.items():
        if found.setdefault(plain_name(name), value) is not value:
            expected = "one tensor of a name, wrapped or not"
            refuse("checkpoint", f"{source}, with {plain_name(name)} twice", expected)
    return found


def is_bookkeeping(name):
    """Whether a tensor of a tokenizer is of use in its training alone."""
    return _BOOKKEEPING.fullmatch(name) is not None


def holds_tokenizer(checkpoint):
    """Whether a dict anywhere in what a file held has a tokenizer's tensors."""
    return next(_states(checkpoint, (), set()), None) is not None


def all_names(checkpoint):
    """The plain names of all that a file held, in dicts at any depth."""
    return {plain_name(name) for name in _keys(checkpoint, set())}


def _keys(value, seen):
    if isinstance(value, dict) and id(value) not in seen:
        seen.add(id(value))
        for key, inner in value.items():
            if isinstance(key, str):
                yield key
                yield from _keys(inner, seen)


def find_state(checkpoint, source, prefix=None):
    """Find a tokenizer's tensors in a checkpoint.

    Of several dicts the averaged weights are taken ("ema", "generator_ema"), else the first.

    Args:
        checkpoint: what a file held.
        source: what to call it in errors.
        prefix: what the names start with; by default it is found: none, "first_stage_model.", or
            the only one there is.

    Returns:
        State.

    Raises:
        ValueError: if there is no tokenizer, or more than one to choose from.
    """
    found = list(_states(checkpoint, (), set()))
    if not found:
        refuse_without_tokenizer(checkpoint, source)
    path, state = min(found, key=lambda one: not _is_average(one[0]))
    state = plain_names(state, source)
    prefix = _prefix(state, source) if prefix is None else prefix
    if f"{prefix}{_MARK}" not in state:
        refuse_without_tokenizer(state, source)
    starts = tuple(prefix + part for part in _PARTS)
    ours = {
        name for name in state
        if name.startswith(starts) and not is_bookkeeping(name.removeprefix(prefix))
    }  # fmt: skip
    chosen = {other_path for other_path, _ in found}
    beside = [".".join(place) for place in _holders(checkpoint, (), chosen) if place not in chosen]
    return State(
        {name.removeprefix(prefix): state[name] for name in state if name in ours},
        {name: value for name, value in state.items() if name not in ours},
        prefix.removesuffix(_IMAGES).removesuffix(MAPS),
        beside,
    )


def refuse_without_tokenizer(checkpoint, source):
    """Refuse what a file held, since no format has found a tokenizer in it."""
    tensors = _tensors(checkpoint) if isinstance(checkpoint, dict) else {}
    some = ", ".join(f"{name:.80}" for name in list(tensors)[:3]) or "no tensors"
    if not tensors and isinstance(checkpoint, dict) and checkpoint:
        some += f" but {', '.join(f'{key!s:.80}' for key in list(checkpoint)[:5])}"
    projects = "taming-transformers, LlamaGen, SEED-Voken or open-muse"
    expected = f'a checkpoint of {projects}, with "{_MARK}"'
    refuse("checkpoint", f"{source}, which holds {some}", expected)


def _tensors(value):
    return {n: v for n, v in value.items() if isinstance(n, str) and hasattr(v, "shape")}


def _states(value, path, seen):
    """(path, tensors) of each dict that holds a tokenizer; one that is there twice, once."""
    if not isinstance(value, dict) or len(path) > _DEPTH or id(value) in seen:
        return
    seen.add(id(value))
    tensors = _tensors(value)
    if any(_is_mark(plain_name(name)) for name in tensors):
        yield path, tensors
        return
    for key, inner in value.items():
        if isinstance(key, str):
            yield from _states(inner, (*path, key), seen)


def _holders(value, path, chosen):
    """Paths of the outermost dicts and lists that hold tensors and none of the chosen dicts."""
    if path in chosen or not isinstance(value, dict):
        return
    for key, inner in value.items():
        place = (*path, str(key))
        if any(other[: len(place)] == place for other in chosen):
            yield from _holders(inner, place, chosen)
        elif _holds_tensors(inner, set()):
            yield place


def _holds_tensors(value, seen):
    if isinstance(value, (dict, list, tuple)):
        if id(value) in seen:
            return False
        seen.add(id(value))
        inside = value.values() if isinstance(value, dict) else value
        return any(_holds_tensors(inner, seen) for inner in inside)
    return bool(getattr(value, "ndim", 0))


def _is_average(path):
    return any(_AVERAGES & set(re.split(r"[_.]", part.lower())) for part in path)


def _is_mark(name):
    return name == _MARK or name.endswith(f".{_MARK}")


def _prefix(names, source):
    found = {name.removesuffix(_MARK) for name in names if _is_mark(name)}
    found = {prefix for prefix in found if not prefix.endswith(MAPS)}
    if not found:
        refuse_without_tokenizer(names, source)
    images = {prefix for prefix in found if prefix.endswith(_IMAGES)}
    averages = {prefix for prefix in found if _is_average((prefix,))}
    for kind in (images, averages, found & {""}, found):
        if len(kind) == 1:
            return kind.pop()
    expected = "a checkpoint of one tokenizer"
    refuse("checkpoint", f"{source}, with those of {', '.join(sorted(found)[:5])}", expected)


def write_state_dict(tensors, directory):
    """Write {name: array} as `model.safetensors`; returns its Path."""
    path = directory / "model.safetensors"
    write_safetensors(tensors, path)
    return path

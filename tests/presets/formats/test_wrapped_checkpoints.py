"""Checkpoints as trainers save them: wrapped, averaged, and beside much else."""

import argparse
import collections
import datetime
import enum
import pathlib
import pickle

import numpy as np
import pytest
import torch

import keras_regvq
from keras_regvq.presets import load_foreign
from tests.presets.formats.peer_models import (
    check_llamagen,
    check_taming,
    llamagen_layout,
    llamagen_model,
    taming_model,
)


class Mode(enum.Enum):
    FAST = "fast"


class Settings:
    def __init__(self):
        self.mode = Mode.FAST


def prefixed(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def compiled_parts(state):
    """As when encoder and decoder were compiled, each by itself."""
    return {name.replace("coder.", "coder._orig_mod.", 1): value for name, value in state.items()}


def averaged_codebook(state):
    return {
        **state,
        "quantize.embedding.cluster_size": torch.ones(20),
        "quantize.embedding.embed_avg": torch.ones(20, 6),
        "quantize.initted": torch.tensor(True),
        "encoder.norm.num_batches_tracked": torch.tensor(3),
    }


BOOKKEEPING = [
    "encoder.norm.num_batches_tracked", "quantize.embedding.cluster_size",
    "quantize.embedding.embed_avg", "quantize.initted",
]  # fmt: skip
OPTIMIZER = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-4}]}
OTHERS = {
    "best": np.float64(0.1), "history": np.arange(6, dtype="float32").reshape(2, 3),
    "seen": {1, 2}, "when": datetime.datetime(2020, 1, 1), "args": argparse.Namespace(lr=1e-4),
    "path": pathlib.PurePosixPath("/data"), "mode": Mode.FAST, "settings": Settings(),
    "class": Settings, "random": np.random.RandomState(0).get_state(), "size": torch.Size([1, 2]),
    "device": torch.device("cpu"), "dtype": torch.float32, "names": np.array(["a", None]),
    "counts": collections.Counter("aab"), "by_name": collections.defaultdict(list, a=[1]),
}  # fmt: skip
WRAPPERS = {
    "state_dict": lambda s: {"state_dict": s},
    "module": lambda s: {"state_dict": prefixed("module.", s)},
    "compiled": lambda s: prefixed("_orig_mod.", s),
    "compiled and distributed": lambda s: {"model": prefixed("_orig_mod.module.", s)},
    "distributed and compiled": lambda s: {"model": prefixed("module._orig_mod.", s)},
    "compiled parts": lambda s: {"generator": compiled_parts(s)},
    "model": lambda s: {"model": s, "epoch": 3},
    "vqvae in model": lambda s: {"model": {"vqvae": s}},
    "prefix": lambda s: {"state_dict": prefixed("model.", s)},
    "prefix in module": lambda s: {"model_state_dict": prefixed("module.vqgan.", s)},
    "an average": lambda s: {"model": prefixed("", {n: v * 0 for n, v in s.items()}), "ema": s},
    "an average by prefix": lambda s: {
        **prefixed("ema_model.", s), **prefixed("model.", {n: v * 0 for n, v in s.items()})
    },
    "an average beside": lambda s: {
        **prefixed("ema.", s), **{name: value * 0 for name, value in s.items()}
    },
    "averaged": lambda s: {"model": {n: v * 0 for n, v in s.items()}, "averaged_model": s},
    "other values": lambda s: {"state_dict": s, **OTHERS},
}  # fmt: skip


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_a_wrapped_checkpoint_gives_the_same_tokens(tmp_path, wrap):
    model = taming_model()
    torch.save(WRAPPERS[wrap](model.state_dict()), tmp_path / "last.ckpt")
    check_taming(keras_regvq.from_preset(tmp_path / "last.ckpt", image_size=32), model)


@pytest.mark.parametrize("wrap", ["module", "compiled", "an average", "prefix in module"])
def test_a_wrapped_llamagen_gives_the_same_tokens(tmp_path, wrap):
    model = llamagen_model()
    state = {**llamagen_layout(model.state_dict()), "quantize.codebook_used": torch.zeros(9)}
    torch.save(WRAPPERS[wrap](state), tmp_path / "vq.pt")
    tokenizer, project, ignored = load_foreign(tmp_path / "vq.pt", 32)
    assert project == "llamagen" and [name.split(".")[-1] for name in ignored] == ["codebook_used"]
    check_llamagen(tokenizer, model)


def test_what_only_training_needs_is_left_aside_by_name(tmp_path):
    model = taming_model()
    loss = {"loss.discriminator.main.0.weight": torch.zeros(3)}
    saved = {
        "state_dict": {**averaged_codebook(model.state_dict()), **loss}, "optimizer": OPTIMIZER,
        "discriminator": {"main.0.weight": torch.ones(2)}, "epoch": 4,
    }  # fmt: skip
    torch.save(saved, tmp_path / "last.ckpt")
    tokenizer, _, ignored = load_foreign(tmp_path / "last.ckpt", 32)
    assert ignored == sorted([*BOOKKEEPING, *loss]) + ["optimizer", "discriminator"]
    check_taming(tokenizer, model)


@pytest.mark.parametrize("name", ["last.pth.tar", "LAST.CKPT", "model.PTH", "model.pkl"])
def test_the_usual_names_of_files_are_known(tmp_path, name):
    model = taming_model()
    if name.endswith("pkl"):
        arrays = {key: value.numpy() for key, value in model.state_dict().items()}
        (tmp_path / name).write_bytes(pickle.dumps({"state_dict": arrays}))
    else:
        torch.save(model.state_dict(), tmp_path / name)
    check_taming(keras_regvq.from_preset(tmp_path / name, image_size=32), model)


@pytest.mark.parametrize("dtype", ["half", "bfloat16", "double"])
def test_weights_of_other_precisions_are_the_same_numbers(tmp_path, dtype):
    state = {name: getattr(value, dtype)() for name, value in taming_model().state_dict().items()}
    model = taming_model()
    model.load_state_dict({name: value.float() for name, value in state.items()})
    torch.save(state, tmp_path / "last.ckpt")
    check_taming(keras_regvq.from_preset(tmp_path / "last.ckpt", image_size=32), model)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    state = taming_model().state_dict()
    state["decoder.conv_in.bias"] = state["decoder.conv_in.bias"].double()
    state["decoder.conv_in.bias"][3] = value
    torch.save(state, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match="last.ckpt.*NaN or infinity.*decoder.conv_in.bias"):
        keras_regvq.from_preset(tmp_path / "last.ckpt", image_size=32)


def test_shapes_that_ask_for_far_more_than_the_file_has_are_refused_before_they_are_made(tmp_path):
    state = {name: value.numpy() for name, value in taming_model().state_dict().items()}
    for name in ("encoder.conv_in", "encoder.down.0.block.0.conv1", "encoder.down.1.block.0.conv1"):
        state[f"{name}.weight"] = np.empty((16384, 0, 3, 3), "float32")
    for level in (2,):
        state[f"encoder.down.{level}.block.0.conv1.weight"] = np.empty((16384, 0, 3, 3), "float32")
    (tmp_path / "big.pkl").write_bytes(pickle.dumps(state))
    with pytest.raises(ValueError, match="big.pkl.*numbers, by its shapes"):
        keras_regvq.from_preset(tmp_path / "big.pkl")


@pytest.mark.parametrize(
    "options, named",
    [
        ({"image_size": 33}, "image_size.*33.*multiples of 4"),
        ({"image_size": "big"}, "image_size"),
        ({"image_size": (32, 32, 32)}, "image_size"), ({"image_size": 0}, "image_size"),
        ({"image_size": []}, "image_size"), ({"bad_override": 1}, "bad_override"),
        ({"config": 3}, "config"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_named(tmp_path, options, named):
    torch.save(taming_model().state_dict(), tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=named):
        keras_regvq.from_preset(tmp_path / "x.ckpt", **options)


@pytest.mark.parametrize(
    "saved, named",
    [
        (3, "no tensors"), ([1], "no tensors"), ({"model": {}}, "no tensors but model"),
        ({"state_dict": {"w": torch.ones(2)}}, "no tensors but state_dict"),
        ({"a.encoder.conv_in.weight": torch.ones(2), "b.encoder.conv_in.weight": torch.ones(2)},
         r"a\., b\.'?.*one tokenizer"),
        ({"module.encoder.conv_in.weight": torch.ones(2), "encoder.conv_in.weight": torch.ones(3)},
         "encoder.conv_in.weight twice"),
        ({"cond_stage_model.encoder.conv_in.weight": torch.ones(2)}, "cond_stage_model"),
    ],
)  # fmt: skip
def test_checkpoints_without_a_tokenizer_or_with_two_are_named(tmp_path, saved, named):
    torch.save(saved, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=f"x.ckpt.*{named}"):
        keras_regvq.from_preset(tmp_path / "x.ckpt")

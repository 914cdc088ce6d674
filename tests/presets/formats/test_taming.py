"""Tensors of taming-transformers, against its own forward pass."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.plain_torch import quantizers as plain_quantizers
from benchmarks.plain_torch.vqgan import VQGAN
from keras_regvq.presets.formats.taming import load_taming, taming_state_dict
from keras_regvq.torch_files import read_torch_file
from tests.presets.formats.changed_tensors import CHANGES, change
from tests.presets.formats.peer_models import (
    check_taming,
    random_norms,
    taming_model,
)

KEYS = Path(__file__).parents[2] / "data_files" / "taming_f16_keys.txt"


@pytest.mark.parametrize("gumbel", [False, True])
def test_a_taming_checkpoint_encodes_and_decodes_as_there_and_goes_back(tmp_path, gumbel):
    model = taming_model(gumbel)
    loss = {"loss.discriminator.main.0.weight": torch.zeros(3)}
    torch.save({"state_dict": {**model.state_dict(), **loss}, "epoch": 3}, tmp_path / "last.ckpt")
    tokenizer, ignored = load_taming(read_torch_file(tmp_path / "last.ckpt"), image_size=32)
    assert ignored == list(loss)
    check_taming(tokenizer, model)
    back = {name: torch.tensor(value) for name, value in taming_state_dict(tokenizer).items()}
    other = taming_model(gumbel)
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    other.load_state_dict(back)
    check_taming(tokenizer, other)


def test_the_published_size_loads_from_its_343_tensors():
    torch.manual_seed(0)
    model = random_norms(VQGAN(plain_quantizers.VectorQuantizer(1024, 256)))
    torch.nn.init.normal_(model.quantize.embedding.weight, std=0.1)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    listed = dict(line.split(" ", 1) for line in KEYS.read_text().splitlines())
    assert {k: str(list(v.shape)) for k, v in state.items()} == listed and len(listed) == 343
    tokenizer, ignored = load_taming(state, image_size=256)
    assert sum(np.prod(v.shape) for v in tokenizer.trainable_weights) == 72_141_699
    assert not ignored and tokenizer.token_grid == (16, 16)
    pictures = np.random.default_rng(0).random((1, 64, 96, 3), dtype="float32")
    check_taming(tokenizer, model, pictures)


def test_the_tokenizer_of_a_net2net_is_found(tmp_path):
    state = {f"first_stage_model.{k}": v for k, v in taming_model().state_dict().items()}
    state["transformer.pos_emb"] = torch.zeros(1, 4, 8)
    tokenizer, ignored = load_taming({k: v.numpy() for k, v in state.items()})
    assert ignored == ["transformer.pos_emb"]
    check_taming(tokenizer, taming_model())


@pytest.mark.parametrize("how, named", CHANGES)
def test_a_file_with_other_tensors_is_refused(how, named):
    state = change(dict(taming_model().state_dict()), how)
    with pytest.raises(ValueError, match=named):
        load_taming({name: value.numpy() for name, value in state.items()})


def test_a_file_without_tensors_is_refused():
    with pytest.raises(ValueError, match="which holds no tensors"):
        load_taming({"epoch": 3})

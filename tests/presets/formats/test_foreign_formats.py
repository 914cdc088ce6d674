"""Tensors of taming-transformers, LlamaGen and diffusers, against their own forward passes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.plain_torch import quantizers as plain_quantizers
from benchmarks.plain_torch.vqgan import VQGAN
from keras_regvq.presets.formats.diffusers import WEIGHTS, export_diffusers, load_diffusers
from keras_regvq.presets.formats.llamagen import is_llamagen, llamagen_state_dict, load_llamagen
from keras_regvq.presets.formats.taming import load_taming, taming_state_dict
from keras_regvq.torch_files import read_torch_file
from tests.presets.formats.foreign_peers import (
    VQModel,
    check_diffusers,
    check_llamagen,
    check_taming,
    diffusers_model,
    llamagen_layout,
    llamagen_model,
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


@pytest.mark.parametrize("key", ["ema", "model"])
def test_a_llamagen_checkpoint_encodes_and_decodes_as_there_and_goes_back(tmp_path, key):
    model = llamagen_model()
    state = {**llamagen_layout(model.state_dict()), "quantize.codebook_used": torch.zeros(9)}
    other = {"model": {name: value * 0 for name, value in state.items()}} if key == "ema" else {}
    torch.save({**other, key: state, "steps": 7}, tmp_path / "vq.pt")
    checkpoint = read_torch_file(tmp_path / "vq.pt")
    assert is_llamagen(checkpoint) and not is_llamagen(taming_model().state_dict())
    tokenizer, ignored = load_llamagen(checkpoint, image_size=32)
    assert ignored == ["quantize.codebook_used"]
    check_llamagen(tokenizer, model)
    back = llamagen_state_dict(tokenizer)
    assert set(back) == set(state) - {"quantize.codebook_used"}
    for name, value in back.items():
        np.testing.assert_array_equal(value, state[name].numpy())


def change(tensors, how):
    name = "decoder.conv_in.weight"
    if how == "missing":
        del tensors[name]
    elif how == "extra":
        tensors["decoder.more.weight"] = torch.zeros(2)
    elif how == "misshapen":
        tensors[name] = tensors[name][:, :3].clone()
    else:
        tensors["decoder.conv_im.weight"] = tensors.pop(name)
    return tensors


@pytest.mark.parametrize(
    "how, named",
    [
        ("missing", r"lacks 1 tensors \(decoder.conv_in.weight\)"),
        ("extra", r"has in addition 1 tensors \(decoder.more.weight\)"),
        ("misshapen", r"decoder.conv_in.weight of shape \(64, 3, 3, 3\) instead of"),
        ("renamed", "lacks 1 .*decoder.conv_in.*has in addition 1 .*decoder.conv_im"),
    ],
)
def test_a_file_with_other_tensors_is_refused(tmp_path, how, named):
    state = change(dict(taming_model().state_dict()), how)
    with pytest.raises(ValueError, match=named):
        load_taming({name: value.numpy() for name, value in state.items()})
    diffusers_model().save_pretrained(tmp_path)
    save_file(change(load_file(tmp_path / WEIGHTS), how), tmp_path / WEIGHTS)
    with pytest.raises(ValueError, match=named):
        load_diffusers(tmp_path)


def test_damaged_files_are_named(tmp_path):
    diffusers_model().save_pretrained(tmp_path)
    data = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="intact file"):
        load_diffusers(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(ValueError, match="a folder with both files"):
        load_diffusers(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        load_diffusers(tmp_path)
    with pytest.raises(ValueError, match="which holds no tensors"):
        load_taming({"epoch": 3})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"vq_embed_dim": None, "layers_per_block": 1},
        {"mid_block_add_attention": False, "sample_size": 33},
        {
            "block_out_channels": (32, 32, 64),
            "down_block_types": ("DownEncoderBlock2D",) * 3,
            "up_block_types": ("UpDecoderBlock2D",) * 3,
        },
    ],
)
def test_a_diffusers_folder_encodes_and_decodes_as_there_and_goes_back(tmp_path, options):
    model = diffusers_model(**options)
    model.save_pretrained(tmp_path / "theirs")
    tokenizer = load_diffusers(tmp_path / "theirs")
    check_diffusers(tokenizer, model)
    export_diffusers(tokenizer, tmp_path / "back")
    check_diffusers(tokenizer, VQModel.from_pretrained(tmp_path / "back"))


def test_attention_names_of_old_diffusers_files_are_known(tmp_path):
    model = diffusers_model()
    model.save_pretrained(tmp_path)
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(tmp_path / WEIGHTS)
    for name in list(tensors):
        for today, once in new.items():
            if f".{today}." in name:
                tensors[name.replace(today, once)] = tensors.pop(name)
    save_file(tensors, tmp_path / WEIGHTS)
    check_diffusers(load_diffusers(tmp_path), model)


@pytest.mark.parametrize(
    "config, named",
    [
        ({"block_out_channels": [10**6, 10**6]}, "block_out_channels=1000000"),
        ({"num_vq_embeddings": 10**12}, "at most 1048576"),
        ({"layers_per_block": "many"}, "layers_per_block"),
        ({"norm_type": "spatial"}, "norm_type='spatial'"),
        ({"down_block_types": ["EvilBlock"] * 2}, "EvilBlock"),
        ({"up_block_types": ["UpDecoderBlock2D"] * 2}, "same resolutions"),
    ],
)
def test_a_config_of_another_kind_or_of_no_size_is_refused(tmp_path, config, named):
    diffusers_model().save_pretrained(tmp_path)
    whole = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**whole, **config}))
    with pytest.raises(ValueError, match=named):
        load_diffusers(tmp_path)

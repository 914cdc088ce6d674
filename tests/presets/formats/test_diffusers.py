"""Folders of diffusers' VQModel, against its own forward pass."""

import json

import pytest
from safetensors.torch import load_file, save_file

from keras_regvq.presets.formats.diffusers import WEIGHTS, export_diffusers, load_diffusers
from tests.presets.formats.changed_tensors import CHANGES, change
from tests.presets.formats.peer_models import (
    VQModel,
    check_diffusers,
    diffusers_model,
)


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
    tokenizer = load_diffusers(tmp_path / "theirs")[0]
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
    check_diffusers(load_diffusers(tmp_path)[0], model)


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


@pytest.mark.parametrize("how, named", CHANGES)
def test_a_folder_with_other_tensors_is_refused(tmp_path, how, named):
    diffusers_model().save_pretrained(tmp_path)
    save_file(change(load_file(tmp_path / WEIGHTS), how), tmp_path / WEIGHTS)
    with pytest.raises(ValueError, match=named):
        load_diffusers(tmp_path)


def test_damaged_and_missing_files_are_named(tmp_path):
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

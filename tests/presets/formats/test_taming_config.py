"""taming-transformers' YAML configs tell what a checkpoint's tensors do not."""

import numpy as np
import pytest
import torch
import yaml

import keras_regvq
from keras_regvq import models
from keras_regvq.__main__ import main as command
from keras_regvq.presets import load_net2net
from tests.presets.formats.peer_models import check_taming, taming_model
from tests.presets.formats.test_net2net import CLASSES, CODES, HEADS, SIDE, check_prior, checkpoint

TOKENIZER = {
    "embed_dim": 6,
    "n_embed": 20,
    "ddconfig": {
        "double_z": False, "z_channels": 5, "resolution": 32, "in_channels": 3, "out_ch": 3,
        "ch": 32, "ch_mult": [1, 2, 2], "num_res_blocks": 2, "attn_resolutions": [8],
        "dropout": 0.0,
    },
}  # fmt: skip


def write(path, params, target="taming.models.vqgan.VQModel"):
    path.write_text(yaml.safe_dump({"model": {"target": target, "params": params}}))
    return path


def net2net_config(path, **conditions):
    sizes = {"z_channels": 5, "resolution": SIDE, "ch_mult": [1, 2], "num_res_blocks": 1}
    network = {**TOKENIZER["ddconfig"], **sizes}
    params = {
        "first_stage_config": {"params": {**TOKENIZER, "ddconfig": network}},
        "transformer_config": {"params": {"n_head": HEADS, "n_layer": 2}},
        **conditions,
    }
    return write(path, params, "taming.models.cond_transformer.Net2NetTransformer")


def test_the_resolution_of_a_config_is_the_tokenizers_image_size(tmp_path):
    model = taming_model()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "last.ckpt")
    config = write(tmp_path / "model.yaml", TOKENIZER)
    assert keras_regvq.from_preset(tmp_path / "last.ckpt").image_size == (64, 64)
    tokenizer = keras_regvq.from_preset(tmp_path / "last.ckpt", config=config)
    assert tokenizer.image_size == (32, 32)
    check_taming(tokenizer, model)
    tokenizer = keras_regvq.from_preset(tmp_path / "last.ckpt", config=config, image_size=48)
    assert tokenizer.image_size == (48, 48)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"z_channels": 6}, "model.yaml', with latent_channels 6.*latent_channels, 5"),
        ({"attn_resolutions": [8, 16]}, "attention_levels"),
        ({"double_z": True}, "KL autoencoder"),
        ({"resolution": None}, "model.yaml"),
        ({"attn_resolutions": 8}, "model.yaml"),
    ],
)
def test_a_config_of_another_model_is_refused(tmp_path, change, named):
    torch.save(taming_model().state_dict(), tmp_path / "last.ckpt")
    params = {**TOKENIZER, "ddconfig": {**TOKENIZER["ddconfig"], **change}}
    config = write(tmp_path / "model.yaml", params)
    with pytest.raises(ValueError, match=f"config.*{named}"):
        keras_regvq.from_preset(tmp_path / "last.ckpt", config=config)


@pytest.mark.parametrize(
    "text",
    [
        "model: !!python/object/apply:os.mkdir [harm]", "model: [", "- a list", "", "model: {}",
        "model: {params: {ddconfig: {}}}",
    ],
)  # fmt: skip
def test_other_yaml_is_named_and_runs_nothing(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    torch.save(taming_model().state_dict(), "last.ckpt")
    (tmp_path / "model.yaml").write_text(text)
    for config in ("model.yaml", "missing.yaml"):
        with pytest.raises(ValueError, match=f"(?s)config.*{config}.*taming-transformers"):
            keras_regvq.from_preset("last.ckpt", config=config)
    assert not (tmp_path / "harm").exists()


def test_a_config_is_for_tamings_checkpoints_alone(tmp_path):
    tokenizer = models.ImageTokenizer(32, keras_regvq.quantizers.VectorQuantizer(16, 8), 32, (1, 2))
    keras_regvq.presets.export(tokenizer, tmp_path, "diffusers")
    with pytest.raises(ValueError, match="config.*not of taming"):
        keras_regvq.from_preset(tmp_path, config="model.yaml")


def test_a_config_tells_of_a_transformers_heads_and_classes(tmp_path):
    file, parts = checkpoint(tmp_path)
    condition = {"target": "taming.modules.util.Labelator", "params": {"n_classes": 7}}
    config = net2net_config(tmp_path / "model.yaml", cond_stage_config=condition)
    tokenizer, prior, _ = load_net2net(file, config=config)
    assert tokenizer.image_size == (SIDE, SIDE)
    check_prior(prior, parts["transformer"], torch.tensor([[6], [2]]), np.int32([6, 2]))
    with pytest.raises(ValueError, match="num_heads"):
        load_net2net(file)


def test_the_convert_command_takes_a_config(tmp_path, capsys):
    file, _ = checkpoint(tmp_path, maps=True)
    condition = {"target": "taming.models.vqgan.VQSegmentationModel", "params": {"n_labels": 5}}
    config = net2net_config(tmp_path / "model.yaml", cond_stage_config=condition)
    command(["convert", str(file), str(tmp_path / "out"), "--config", str(config)])
    generator = keras_regvq.from_preset(tmp_path / "out")
    assert generator.prior.condition.tokenizer.num_classes == CLASSES
    assert generator.tokenizer.codebook_size == CODES
    assert f"{SIDE} x {SIDE} pixels" in capsys.readouterr().out
    for option, value in (
        ("--config", write(tmp_path / "vq.yaml", TOKENIZER)),
        ("--num-classes", 7),
    ):
        with pytest.raises(SystemExit, match=option):
            command(["convert", "regvq_scenes_64", str(tmp_path / "copy"), option, str(value)])

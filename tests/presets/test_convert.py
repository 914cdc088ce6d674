"""Other projects' tokenizers by from_preset, export and the convert command."""

import numpy as np
import pytest
import torch

import keras_regvq
from keras_regvq import presets
from keras_regvq.__main__ import main as convert_command
from keras_regvq.presets import convert
from keras_regvq.presets.formats.checkpoint_format import CheckpointFormat
from keras_regvq.presets.formats.taming import load_taming
from tests.presets.formats.open_muse_models import open_muse_model
from tests.presets.formats.peer_models import (
    check_taming,
    diffusers_model,
    images,
    llamagen_layout,
    llamagen_model,
    taming_model,
)
from tests.presets.formats.seed_voken_models import trained_state


@pytest.mark.parametrize("project", ["diffusers", "taming", "llamagen", "open_muse", "seed_voken"])
def test_from_preset_knows_each_project_and_export_writes_it(tmp_path, project):
    source = tmp_path / "theirs"
    if project == "diffusers":
        diffusers_model().save_pretrained(source)
    elif project == "open_muse":
        open_muse_model(multipliers=(1, 2)).save(source)
    else:
        source = tmp_path / "model.ckpt"
        state = taming_model().state_dict()
        if project == "llamagen":
            state = {"model": llamagen_layout(llamagen_model().state_dict())}
        elif project == "seed_voken":
            state = {"state_dict": trained_state()}
        torch.save(state, source)
    tokenizer = keras_regvq.from_preset(source, image_size=32)
    assert isinstance(tokenizer, keras_regvq.models.ImageTokenizer)
    assert tokenizer.image_size == (32, 32)
    for wrong in ({"dtype": "bfloat16"}, {"load_weights": False}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}.*only image_size"):
            keras_regvq.from_preset(source, **wrong)
    path = keras_regvq.presets.export(tokenizer, tmp_path / "back", project)
    folders = ("diffusers", "open_muse")
    assert presets.foreign_format(source) == (project if project in folders else "checkpoint")
    again = keras_regvq.from_preset(path.parent if project in folders else path)
    pictures = images(32)
    np.testing.assert_array_equal(again.encode(pictures), tokenizer.encode(pictures))
    tokenizer.save_to_preset(tmp_path / "ours")
    ours = keras_regvq.from_preset(tmp_path / "ours")
    np.testing.assert_array_equal(ours.encode(pictures), tokenizer.encode(pictures))


def test_the_convert_command_says_what_it_did(tmp_path, capsys):
    model = taming_model()
    loss = {f"loss.discriminator.main.{i}.weight": torch.zeros(3) for i in range(2)}
    torch.save({"state_dict": {**model.state_dict(), **loss}}, tmp_path / "last.ckpt")
    ours, back = str(tmp_path / "ours"), str(tmp_path / "back")
    convert_command(["convert", str(tmp_path / "last.ckpt"), ours, "--image-size", "32"])
    printed = capsys.readouterr().out
    parameters = sum(p.numel() for p in model.parameters())
    tensors = len(list(model.parameters()))
    assert f"{tensors} tensors, {parameters:,} parameters" in printed
    assert "32 x 32 pixels to 8 x 8 tokens of 20 codes, 6 wide" in printed
    assert "left aside, no part of a tokenizer: 2 x loss.discriminator" in printed
    check_taming(keras_regvq.from_preset(ours), model)
    convert_command(["convert", ours, back, "--to", "diffusers"])
    check_taming(keras_regvq.from_preset(back), model)
    with pytest.raises(SystemExit, match="error: .*normalize=True"):
        convert_command(["convert", ours, f"{back}2", "--to", "llamagen"])


def test_a_regularized_quantizer_is_a_gumbel_vq_in_tamings_files_and_in_no_others(tmp_path):
    tokenizer = keras_regvq.from_preset("regvq_scenes_64_v1")
    again = keras_regvq.from_preset(keras_regvq.presets.export(tokenizer, tmp_path, "taming"))
    assert isinstance(again.quantizer, keras_regvq.quantizers.GumbelQuantizer)
    pictures = keras_regvq.data.scenes(2, size=64, split="test")["images"]
    tokens = tokenizer.encode(pictures)
    np.testing.assert_array_equal(again.encode(pictures), tokens)
    np.testing.assert_allclose(again.decode(tokens), tokenizer.decode(tokens), atol=1e-6)
    for project in ("diffusers", "llamagen"):
        with pytest.raises(ValueError, match="a VectorQuantizer"):
            keras_regvq.presets.export(tokenizer, tmp_path, project)
    with pytest.raises(ValueError, match="format"):
        keras_regvq.presets.export(tokenizer, tmp_path, "onnx")


def test_another_format_is_a_class_and_a_line_of_the_table(tmp_path, monkeypatch):
    class Shouting(CheckpointFormat):
        """A state dict of taming's names in capitals."""

        name = "shouting"

        def matches(self, checkpoint):
            return checkpoint.is_file and "ENCODER.CONV_IN.WEIGHT" in checkpoint.contents

        def load(self, checkpoint, image_size=None, config=None):
            state = {name.lower(): value for name, value in checkpoint.contents.items()}
            return load_taming(state, checkpoint.source, image_size)

    model = taming_model()
    state = {name.upper(): value for name, value in model.state_dict().items()}
    torch.save(state, tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match="model.ckpt.*a checkpoint of taming-transformers"):
        keras_regvq.from_preset(tmp_path / "model.ckpt", image_size=32)
    monkeypatch.setattr(convert, "FORMATS", (Shouting(), *convert.FORMATS))
    check_taming(keras_regvq.from_preset(tmp_path / "model.ckpt", image_size=32), model)
    with pytest.raises(ValueError, match="config"):
        keras_regvq.from_preset(tmp_path / "model.ckpt", config="model.yaml")

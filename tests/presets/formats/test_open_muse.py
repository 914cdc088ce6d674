"""MaskGIT's tokenizers of open-muse, against their forward pass."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import keras_regvq
from keras_regvq import models, presets, quantizers
from tests.presets.formats.changed_tensors import CHANGES, change
from tests.presets.formats.open_muse_models import CODES, check_open_muse, open_muse_model
from tests.presets.formats.peer_models import VQModel, check_diffusers, images


def test_a_maskgit_encodes_and_decodes_as_there_and_goes_back(tmp_path):
    model = open_muse_model()
    tokenizer, project, ignored = presets.load_foreign(model.save(tmp_path / "theirs"))
    assert project == "open_muse" and not ignored and tokenizer.image_size == (32, 32)
    assert tokenizer.unit_range and not tokenizer.middle_attention
    check_open_muse(tokenizer, model)
    path = presets.export(tokenizer, tmp_path / "back", "open_muse")
    other = open_muse_model(seed=1)
    other.load_state_dict(load_file(path))
    check_open_muse(tokenizer, other)
    written = json.loads((path.parent / "config.json").read_text())
    assert written.items() <= model.config.items()
    for again in (path, path.parent):
        again = keras_regvq.from_preset(again, image_size=32)
        for weight, other in zip(again.weights, tokenizer.weights, strict=True):
            np.testing.assert_array_equal(weight, other)


def test_the_weights_by_themselves_are_read(tmp_path):
    model = open_muse_model()
    saved = {"model": {f"module.{name}": v for name, v in model.state_dict().items()}}
    torch.save({**saved, "loss": {"weight": torch.zeros(2)}}, tmp_path / "vq.bin")
    tokenizer, project, ignored = presets.load_foreign(tmp_path / "vq.bin", 32)
    assert project == "open_muse" and ignored == ["loss"]
    check_open_muse(tokenizer, model)


def test_it_stays_what_it_is_as_a_preset_of_ones_own(tmp_path):
    tokenizer = keras_regvq.from_preset(open_muse_model().save(tmp_path / "theirs"))
    tokenizer.save_to_preset(tmp_path / "ours")
    again = keras_regvq.from_preset(tmp_path / "ours")
    assert again.unit_range
    pictures = images(32)
    tokens = tokenizer.encode(pictures)
    np.testing.assert_array_equal(again.encode(pictures), tokens)
    np.testing.assert_array_equal(again.decode(tokens), tokenizer.decode(tokens))


@pytest.mark.parametrize("how, named", CHANGES)
def test_a_file_with_other_tensors_is_refused(tmp_path, how, named):
    torch.save(change(open_muse_model(multipliers=(1, 2)).state_dict(), how), tmp_path / "vq.bin")
    with pytest.raises(ValueError, match=f"vq.bin.*{named}"):
        keras_regvq.from_preset(tmp_path / "vq.bin")


def test_names_are_the_files_own_and_numbers_are_finite(tmp_path):
    state = open_muse_model(multipliers=(1, 2)).state_dict()
    state["decoder.up.1.upsample_conv.bias"][3] = np.nan
    torch.save(state, tmp_path / "vq.bin")
    with pytest.raises(
        ValueError, match="vq.bin.*NaN or infinity.*decoder.up.1.upsample_conv.bias"
    ):
        keras_regvq.from_preset(tmp_path / "vq.bin")
    del state["encoder.mid.1.conv2.weight"]
    torch.save(state, tmp_path / "vq.bin")
    with pytest.raises(ValueError, match="vq.bin.*lacks 1 tensors .encoder.mid.1.conv2.weight"):
        keras_regvq.from_preset(tmp_path / "vq.bin")


@pytest.mark.parametrize(
    "options, named",
    [
        ({"blocks": 3}, "3 residual blocks a level.*2, which is what a VQ-GAN has"),
        ({"blocks": 1}, "1 residual blocks a level"),
        ({"width": 8}, "6 latent channels and codes of another width"),
    ],
)
def test_a_network_without_an_equal_is_refused(tmp_path, options, named):
    folder = open_muse_model(multipliers=(1, 2), **options).save(tmp_path / "theirs")
    with pytest.raises(ValueError, match=f"pytorch_model.bin.*{named}"):
        keras_regvq.from_preset(folder)


def test_a_folder_must_be_whole_and_of_one_network(tmp_path):
    model = open_muse_model(multipliers=(1, 2))
    model.config |= {"channel_mult": [1, 3]}
    with pytest.raises(ValueError, match=r"pytorch_model.bin.*channel_mult=\(1, 3\).*\(1, 2\)"):
        keras_regvq.from_preset(model.save(tmp_path / "theirs"))
    (tmp_path / "theirs" / "pytorch_model.bin").unlink()
    with pytest.raises(ValueError, match="theirs' without weights.*pytorch_model.bin"):
        keras_regvq.from_preset(tmp_path / "theirs")
    with pytest.raises(ValueError, match="config.*not of taming"):
        keras_regvq.from_preset(tmp_path / "theirs", config="model.yaml")


def test_only_what_came_from_a_maskgit_is_written(tmp_path):
    def tokenizer(quantizer, **options):
        sizes = {"num_res_blocks": 2, "attention_resolutions": (), "latent_channels": 4}
        sizes |= {"middle_attention": False, "unit_range": True, **options}
        return models.ImageTokenizer(8, quantizer, 32, (1, 2), **sizes)

    nearest = quantizers.VectorQuantizer(CODES, 4)
    read = keras_regvq.from_preset(open_muse_model(multipliers=(1, 2)).save(tmp_path / "theirs"))
    read.encoder.get_layer("conv_in").bias.assign(np.full(32, 1e-3))
    refused = (
        (tokenizer(quantizers.FiniteScalarQuantizer([3, 3])), "a VectorQuantizer"),
        (tokenizer(quantizers.VectorQuantizer(CODES, 4, normalize=True)), "without normalize"),
        (tokenizer(nearest, unit_range=False), "unit_range=False.*unit_range=True"),
        (tokenizer(nearest, middle_attention=True), "with attention"),
        (tokenizer(nearest, attention_resolutions=(4,)), "with attention"),
        (tokenizer(nearest, num_res_blocks=1), "num_res_blocks=1.*num_res_blocks=2"),
        (tokenizer(nearest, latent_channels=5), "latent_channels=5.*latent_channels=4"),
        (tokenizer(nearest, norm_groups=16), "norm_groups=32"),
        (tokenizer(nearest), "weight encoder.*read from a MaskGIT"),
        (read, "weight encoder.conv_in.bias has been trained"),
    )
    for made, named in refused:
        with pytest.raises(ValueError, match=named):
            presets.export(made, tmp_path / "out", "open_muse")
    with pytest.raises(ValueError, match="unit_range=True.*unit_range=False"):
        presets.export(read, tmp_path / "out", "taming")


def test_diffusers_holds_it_as_amused_holds_its_tokenizer(tmp_path):
    tokenizer = keras_regvq.from_preset(
        open_muse_model(multipliers=(1, 2)).save(tmp_path / "theirs")
    )
    folder = presets.export(tokenizer, tmp_path / "out", "diffusers").parent
    check_diffusers(tokenizer, VQModel.from_pretrained(folder))

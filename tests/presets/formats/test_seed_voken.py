"""Tensors of SEED-Voken's IBQ, against its forward pass."""

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import keras_regvq
from keras_regvq import presets, quantizers
from keras_regvq.presets.formats.seed_voken import load_seed_voken
from tests.presets.formats.changed_tensors import CHANGES, change
from tests.presets.formats.peer_models import images
from tests.presets.formats.seed_voken_models import CODES, check_ibq, ibq_model, trained_state

SETTINGS = {
    "embed_dim": 6,
    "n_embed": CODES,
    "use_ema": True,
    "ddconfig": {
        "double_z": False, "z_channels": 5, "resolution": 32, "in_channels": 3, "out_ch": 3,
        "ch": 32, "ch_mult": [1, 2, 2], "num_res_blocks": 2, "attn_resolutions": [8],
        "dropout": 0.0,
    },
}  # fmt: skip


def write_config(path, kind="src.IBQ.models.ibqgan.IBQ", **changes):
    settings = {**SETTINGS, **changes}
    path.write_text(yaml.safe_dump({"model": {"class_path": kind, "init_args": settings}}))
    return path


def without_averages(state):
    return {name: value for name, value in state.items() if not name.startswith("model_ema.")}


def test_an_ibq_is_read_by_its_averages_and_goes_back(tmp_path):
    saved = {"state_dict": trained_state(), "epoch": 3, "pytorch-lightning_version": "2.2"}
    torch.save(saved, tmp_path / "ibq.ckpt")
    tokenizer, project, ignored = presets.load_foreign(tmp_path / "ibq.ckpt", 32)
    assert project == "seed_voken"
    assert isinstance(tokenizer.quantizer, quantizers.IndexBackpropagationQuantizer)
    assert ignored == [
        "loss.discriminator.main.0.weight", "model_ema.decay",
        "model_ema.lossdiscriminatormain0weight", "model_ema.num_updates",
    ]  # fmt: skip
    check_ibq(tokenizer, ibq_model().use_averages())
    path = presets.export(tokenizer, tmp_path / "back", "seed_voken")
    other = ibq_model(seed=1)
    other.load_state_dict(load_file(path))
    check_ibq(tokenizer, other)
    check_ibq(tokenizer, other.use_averages())
    again = keras_regvq.from_preset(path, image_size=32)
    pictures = images(32)
    tokens = tokenizer.encode(pictures)
    np.testing.assert_array_equal(again.encode(pictures), tokens)
    np.testing.assert_array_equal(again.decode(tokens), tokenizer.decode(tokens))


def test_a_config_tells_an_ibq_without_averages_from_a_vqgan(tmp_path):
    model = ibq_model()
    torch.save({"state_dict": without_averages(model.state_dict())}, tmp_path / "ibq.ckpt")
    config = write_config(tmp_path / "ibq.yaml")
    tokenizer = keras_regvq.from_preset(tmp_path / "ibq.ckpt", config=config)
    assert tokenizer.image_size == (32, 32)
    check_ibq(tokenizer, model)
    nearest = keras_regvq.from_preset(tmp_path / "ibq.ckpt", image_size=32)
    assert isinstance(nearest.quantizer, quantizers.VectorQuantizer)
    assert (nearest.encode(images(32)) != tokenizer.encode(images(32))).any()


def test_a_config_tells_whether_averages_are_meant(tmp_path):
    torch.save({"state_dict": trained_state()}, tmp_path / "ibq.ckpt")
    config = write_config(tmp_path / "ibq.yaml", use_ema=False)
    tokenizer, _, ignored = presets.load_foreign(tmp_path / "ibq.ckpt", config=config)
    model = ibq_model()
    for value in model.parameters():
        value.data.mul_(1.5)
    check_ibq(tokenizer, model)
    assert "model_ema.encoderconv_inweight" in ignored


def test_a_config_of_taming_makes_a_vqgan_with_averages_one(tmp_path):
    torch.save(trained_state(), tmp_path / "vq.ckpt")
    params = {**SETTINGS}
    text = yaml.safe_dump({"model": {"target": "ldm.models.autoencoder.VQModel", "params": params}})
    (tmp_path / "vq.yaml").write_text(text)
    _, project, _ = presets.load_foreign(tmp_path / "vq.ckpt", config=tmp_path / "vq.yaml")
    assert project == "taming"


def test_the_tokenizer_beside_a_transformer_is_found(tmp_path):
    model = ibq_model()
    state = without_averages(model.state_dict())
    state = {f"first_stage_model.{name}": value for name, value in state.items()}
    state["transformer.blocks.0.attention.wqkv.weight"] = torch.zeros(6, 2)
    torch.save({"state_dict": state}, tmp_path / "ar.ckpt")
    tokenizer, project, ignored = presets.load_foreign(tmp_path / "ar.ckpt", 32)
    assert project == "seed_voken" and ignored == ["transformer.blocks.0.attention.wqkv.weight"]
    check_ibq(tokenizer, model)


@pytest.mark.parametrize("how, named", CHANGES)
def test_a_file_with_other_tensors_is_refused(tmp_path, how, named):
    torch.save(change(trained_state(), how), tmp_path / "ibq.ckpt")
    with pytest.raises(ValueError, match=f"ibq.ckpt.*{named}"):
        presets.load_foreign(tmp_path / "ibq.ckpt", 32)


@pytest.mark.parametrize(
    "name, value, named",
    [
        ("quant_convbias", None, r"lacks 1 tensors \(model_ema.quant_convbias\)"),
        ("decodermoreweight", torch.zeros(2), r"in addition 1 tensors \(model_ema.decodermore"),
        ("quant_convbias", torch.zeros(5), r"model_ema.quant_convbias of shape \(5,\) instead"),
        ("quant_convbias", torch.full((6,), np.nan), "NaN or infinity.*model_ema.quant_convbias"),
    ],
)
def test_a_file_with_other_averages_is_refused(tmp_path, name, value, named):
    state = {**trained_state(), f"model_ema.{name}": value}
    torch.save({n: v for n, v in state.items() if v is not None}, tmp_path / "ibq.ckpt")
    with pytest.raises(ValueError, match=f"ibq.ckpt.*{named}"):
        presets.load_foreign(tmp_path / "ibq.ckpt", 32)


def test_remapped_codes_and_other_quantizers_are_refused(tmp_path):
    state = {name: value.numpy() for name, value in trained_state().items()}
    state["quantize.used"] = np.arange(5)
    with pytest.raises(ValueError, match="in addition 1 .*quantize.used"):
        load_seed_voken(state)
    torch.save(trained_state(), tmp_path / "ibq.ckpt")
    config = write_config(tmp_path / "vq.yaml", "src.IBQ.models.ibqgan.VQModel")
    with pytest.raises(ValueError, match="vq.yaml.*ibqgan.VQModel.*IBQ"):
        keras_regvq.from_preset(tmp_path / "ibq.ckpt", config=config)
    config = write_config(tmp_path / "big.yaml", n_embed=16384)
    with pytest.raises(ValueError, match="big.yaml.*codebook_size 16384.*20"):
        keras_regvq.from_preset(tmp_path / "ibq.ckpt", config=config)


def test_only_an_ibq_of_its_network_is_written(tmp_path):
    def tokenizer(quantizer, **options):
        return keras_regvq.models.ImageTokenizer(8, quantizer, 32, (1, 1), 1, (), 4, **options)

    ibq = quantizers.IndexBackpropagationQuantizer(16, 4)
    refused = (
        (tokenizer(quantizers.VectorQuantizer(16, 4)), "an IndexBackpropagationQuantizer"),
        (tokenizer(ibq, middle_attention=False), "middle_attention=True"),
        (tokenizer(ibq, norm_groups=16), "norm_groups=32"),
        (tokenizer(ibq, patch_size=2), "patch_size=1"),
    )
    for made, named in refused:
        with pytest.raises(ValueError, match=named):
            presets.export(made, tmp_path / "out", "seed_voken")
    for project in ("taming", "diffusers", "llamagen"):
        with pytest.raises(ValueError, match="a VectorQuantizer"):
            presets.export(tokenizer(ibq), tmp_path / "out", project)

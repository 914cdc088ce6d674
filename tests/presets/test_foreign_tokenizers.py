"""Checkpoints of taming-transformers and diffusers, against their own forward passes."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import keras_regvq
from benchmarks.plain_torch import quantizers as plain_quantizers
from benchmarks.plain_torch.vqgan import VQGAN
from keras_regvq.__main__ import main as convert_command
from keras_regvq.presets.diffusers import WEIGHTS, export_diffusers, load_diffusers
from keras_regvq.presets.llamagen import is_llamagen, llamagen_state_dict, load_llamagen
from keras_regvq.presets.taming import load_taming, taming_state_dict
from keras_regvq.torch_files import read_torch_file

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from diffusers import VQModel

KEYS = Path(__file__).parents[1] / "data_files" / "taming_f16_keys.txt"


def random_norms(model):
    """Norms start as ones and zeros, which would hide a mix-up."""
    for name, weights in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(weights, 1.0 if name.endswith("weight") else 0.0, 0.3)
    return model.eval()


def taming_model(gumbel=False):
    torch.manual_seed(0)
    kind = plain_quantizers.GumbelQuantizer if gumbel else plain_quantizers.VectorQuantizer
    model = VQGAN(
        kind(20, 6), ch=32, ch_mult=(1, 2, 2), num_res_blocks=2, attn_resolutions=(8,),
        resolution=32, z_channels=6 if gumbel else 5, embed_dim=6,
    )  # fmt: skip
    return random_norms(model)


def diffusers_model(**options):
    torch.manual_seed(0)
    settings = {
        "block_out_channels": (32, 64),
        "down_block_types": ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        "up_block_types": ("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        "layers_per_block": 2,
        "latent_channels": 5,
        "num_vq_embeddings": 20,
        "vq_embed_dim": 6,
        "sample_size": 16,
    }
    return random_norms(VQModel(**{**settings, **options}))


def images(side=16, count=2):
    return np.random.default_rng(0).random((count, side, side + 8, 3), dtype="float32")


def check_equal(tokenizer, pictures, their_tokens, decode):
    """`decode` maps tokens (B, h, w) to their images (B, 3, H, W) in [-1, 1]."""
    tokens = tokenizer.encode(pictures)
    assert len(np.unique(tokens)) > 3
    np.testing.assert_array_equal(tokens, their_tokens)
    with torch.no_grad():
        theirs = decode(torch.tensor(tokens).long()).numpy().transpose(0, 2, 3, 1)
    expected = np.clip(theirs / 2 + 0.5, 0, 1)
    assert expected.std() > 0.05
    np.testing.assert_allclose(tokenizer.decode(tokens), expected, atol=1e-4)


def torch_images(pictures):
    return torch.tensor(pictures.transpose(0, 3, 1, 2) * 2 - 1)


def check_diffusers(tokenizer, model):
    pictures = images()
    with torch.no_grad():
        latents = model.encode(torch_images(pictures)).latents
        tokens = model.quantize(latents)[2][2].reshape(2, *latents.shape[2:])

    def decode(tokens):
        codes = model.quantize.embedding(tokens).permute(0, 3, 1, 2)
        return model.decode(codes, force_not_quantize=True).sample

    check_equal(tokenizer, pictures, tokens.numpy(), decode)


def check_taming(tokenizer, model, pictures=None):
    pictures = images(32) if pictures is None else pictures
    with torch.no_grad():
        tokens = model(torch_images(pictures))[1]["best_tokens"].numpy()
    table = getattr(model.quantize, "embed", None) or model.quantize.embedding

    def decode(tokens):
        return model.decoder(model.post_quant_conv(table(tokens).permute(0, 3, 1, 2)))

    check_equal(tokenizer, pictures, tokens, decode)


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


class UnitLengthQuantizer(plain_quantizers.VectorQuantizer):
    """LlamaGen's lookup: z and the codes are brought to length 1."""

    def forward(self, z):
        codes = torch.nn.functional.normalize(self.embedding.weight, dim=-1)
        z = torch.nn.functional.normalize(z.permute(0, 2, 3, 1), dim=-1)
        tokens = (z[..., None, :] - codes).square().sum(-1).argmin(-1)
        return {"embeddings": codes[tokens].permute(0, 3, 1, 2), "best_tokens": tokens}


def llamagen_model():
    torch.manual_seed(1)
    model = VQGAN(
        UnitLengthQuantizer(20, 4), ch=32, ch_mult=(1, 1, 2), num_res_blocks=2,
        attn_resolutions=(8,), resolution=32, z_channels=5, embed_dim=4,
    )  # fmt: skip
    torch.nn.init.normal_(model.quantize.embedding.weight)
    return random_norms(model)


def llamagen_layout(state, levels=3):
    """By LlamaGen's own source: blocks counted as they run, the middle as a list."""
    renamed = {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[1:2] == ["mid"]:
            parts[2] = str(["block_1", "attn_1", "block_2"].index(parts[2]))
        elif parts[1:2] in (["down"], ["up"]):
            number = int(parts[2])
            number = number if parts[1] == "down" else levels - 1 - number
            parts[1:3] = "conv_blocks", str(number)
            parts[3] = {"block": "res"}.get(parts[3], parts[3])
        renamed[".".join(parts)] = value
    return renamed


def check_llamagen(tokenizer, model):
    pictures = images(32)
    with torch.no_grad():
        features = model.quant_conv(model.encoder(torch_images(pictures)))
        tokens = model.quantize(features)["best_tokens"].numpy()
    codes = torch.nn.functional.normalize(model.quantize.embedding.weight, dim=-1)

    def decode(tokens):
        return model.decoder(model.post_quant_conv(codes[tokens].permute(0, 3, 1, 2)))

    check_equal(tokenizer, pictures, tokens, decode)


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
        ("extra", r"has besides 1 tensors \(decoder.more.weight\)"),
        ("misshapen", r"decoder.conv_in.weight of shape \(64, 3, 3, 3\) instead of"),
        ("renamed", "lacks 1 .*decoder.conv_in.*has besides 1 .*decoder.conv_im"),
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


@pytest.mark.parametrize("project", ["diffusers", "taming", "llamagen"])
def test_from_preset_knows_each_project_and_export_writes_it(tmp_path, project):
    source = tmp_path / "theirs"
    if project == "diffusers":
        diffusers_model().save_pretrained(source)
    else:
        source = tmp_path / "model.ckpt"
        state = taming_model().state_dict()
        if project == "llamagen":
            state = {"model": llamagen_layout(llamagen_model().state_dict())}
        torch.save(state, source)
    tokenizer = keras_regvq.from_preset(source, image_size=32)
    assert isinstance(tokenizer, keras_regvq.models.ImageTokenizer)
    assert tokenizer.image_size == (32, 32)
    for wrong in ({"dtype": "bfloat16"}, {"load_weights": False}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}.*only image_size"):
            keras_regvq.from_preset(source, **wrong)
    path = keras_regvq.presets.export(tokenizer, tmp_path / "back", project)
    again = keras_regvq.from_preset(path.parent if project == "diffusers" else path)
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
        convert_command(["convert", ours, back, "--to", "llamagen"])


def test_a_regularized_quantizer_is_a_gumbel_vq_in_tamings_files_and_in_no_others(tmp_path):
    tokenizer = keras_regvq.from_preset("regvq_scenes_64")
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

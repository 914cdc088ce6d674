"""The layouts in which diffusers keeps a VQModel, against its own forward pass."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import keras_regvq
from keras_regvq.presets.formats.diffusers_folder import WEIGHTS
from tests.presets.formats.peer_models import VQModel, check_diffusers, diffusers_model

STEM = "diffusion_pytorch_model"


def plain(folder, tensors):
    save_file(tensors, folder / WEIGHTS)


def bin_file(folder, tensors):
    torch.save(tensors, folder / f"{STEM}.bin")


def variant(folder, tensors):
    save_file({n: t.half() for n, t in tensors.items()}, folder / f"{STEM}.fp16.safetensors")


def wrapped(folder, tensors):
    torch.save({f"module._orig_mod.{n}": t for n, t in tensors.items()}, folder / f"{STEM}.bin")


def averaged(folder, tensors):
    save_file({**tensors, "quantize.embedding.cluster_size": torch.ones(20)}, folder / WEIGHTS)


def shards(folder, tensors, suffix="safetensors", variant=""):
    parts = [f"{STEM}{variant}-0000{i}-of-00002.{suffix}" for i in (1, 2)]
    places = {name: parts[i % 2] for i, name in enumerate(sorted(tensors))}
    for part in parts:
        there = {name: tensors[name] for name in tensors if places[name] == part}
        (save_file if suffix == "safetensors" else torch.save)(there, folder / part)
    index = f"{STEM}.{suffix}.index{variant}.json"
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": places}))


LAYOUTS = {
    "plain": plain, "bin": bin_file, "fp16": variant, "wrapped": wrapped, "averaged": averaged,
    "shards": shards, "shards of bin": lambda *given: shards(*given, "bin"),
    "shards of a variant": lambda *given: shards(*given, variant=".fp16"),
}  # fmt: skip


def write(folder, layout="plain", **options):
    """A folder in a layout, and the model that it holds."""
    model = diffusers_model(**options)
    model.save_pretrained(folder)
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    LAYOUTS[layout](folder, tensors)
    if layout == "fp16":
        model.load_state_dict({name: t.half().float() for name, t in tensors.items()})
    return model


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_the_weights(tmp_path, layout):
    model = write(tmp_path, layout)
    check_diffusers(keras_regvq.from_preset(tmp_path), model)


def test_full_precision_is_taken_where_there_is_a_choice(tmp_path):
    model = write(tmp_path)
    zeros = {name: tensor * 0 for name, tensor in model.state_dict().items()}
    save_file(zeros, tmp_path / f"{STEM}.fp16.safetensors")
    torch.save(zeros, tmp_path / f"{STEM}.bin")
    check_diffusers(keras_regvq.from_preset(tmp_path), model)


@pytest.mark.parametrize("part", ["vqvae", "vqgan", "image_tokenizer"])
def test_a_pipelines_root_folder(tmp_path, part):
    model = write(tmp_path / part)
    (tmp_path / "model_index.json").write_text('{"_class_name": "AmusedPipeline"}')
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    check_diffusers(keras_regvq.from_preset(tmp_path), model)
    write(tmp_path / "movq")
    with pytest.raises(ValueError, match=f"movq.*{part}|{part}.*movq"):
        keras_regvq.from_preset(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"norm_num_groups": 4},
        {"norm_num_groups": 24, "block_out_channels": (48, 96)},
        {"norm_num_groups": 1, "block_out_channels": (12, 24)},
        {"lookup_from_codebook": True},
        {"mid_block_add_attention": False},
    ],
)
def test_any_number_of_groups_and_other_options_go_both_ways(tmp_path, options):
    model = write(tmp_path / "theirs", **options)
    tokenizer = keras_regvq.from_preset(tmp_path / "theirs")
    check_diffusers(tokenizer, model)
    keras_regvq.presets.export(tokenizer, tmp_path / "back", "diffusers")
    check_diffusers(tokenizer, VQModel.from_pretrained(tmp_path / "back"))
    tokenizer.save_to_preset(tmp_path / "ours")
    ours = keras_regvq.from_preset(tmp_path / "ours")
    assert ours.get_config()["norm_groups"] == options.get("norm_num_groups", 32)
    check_diffusers(ours, model)
    if options.get("norm_num_groups", 32) != 32:
        for project in ("taming", "llamagen"):
            with pytest.raises(ValueError, match="norm_groups=32|normalize=True"):
                keras_regvq.presets.export(tokenizer, tmp_path / "no", project)


def test_a_config_of_an_old_version_does_not_name_its_class(tmp_path):
    model = write(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["_class_name"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    check_diffusers(keras_regvq.from_preset(tmp_path), model)


MANY = 10**30
BAD = {
    "block_out_channels": [3, "32", None, [], [[32]], ["32", 64], [32.0, 64], [True, 64], [-32, 64],
                           [MANY, MANY], [32] * 10**5, {"a": 1}, [48, 64]],
    "down_block_types": [3, None, "DownEncoderBlock2D", [1, 2], [[], {}], ["DownEncoderBlock2D"]],
    "up_block_types": [3, [None, None]],
    "layers_per_block": ["2", 0, -1, 2.5, MANY, [2], True, 10**4],
    "latent_channels": ["5", 0, MANY],
    "num_vq_embeddings": ["20", 0, MANY, [20]],
    "vq_embed_dim": ["6", 0, MANY],
    "norm_num_groups": ["32", 0, 5, 64, MANY],
    "sample_size": ["16", 0, [16, 16]],
    "mid_block_add_attention": ["yes", 1],
    "in_channels": [4, "3"], "norm_type": ["spatial", 3, None], "act_fn": ["relu"],
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_values_of_a_config_that_are_none_of_a_vqmodel_are_named(tmp_path, name):
    write(tmp_path)
    whole = json.loads((tmp_path / "config.json").read_text())
    for value in BAD[name]:
        if value is None and name != "norm_type":
            continue
        (tmp_path / "config.json").write_text(json.dumps({**whole, name: value}))
        with pytest.raises(ValueError) as error:
            keras_regvq.from_preset(tmp_path)
        assert tmp_path.name in str(error.value) and len(str(error.value)) < 2000


@pytest.mark.parametrize(
    "weight_map",
    [
        3, [], {"a": 3}, {"a": "../secret.safetensors"}, {"a": "/etc/passwd"}, {"a": "config.json"},
        {"a": f"{STEM}-00009-of-00009.safetensors"}, {},
    ],
)  # fmt: skip
def test_an_index_that_is_wrong_is_named(tmp_path, weight_map):
    write(tmp_path, "shards")
    index = tmp_path / f"{WEIGHTS}.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ValueError, match=STEM):
        keras_regvq.from_preset(tmp_path)


def test_files_that_are_folders_or_missing_are_named(tmp_path):
    write(tmp_path / "a")
    (tmp_path / "a" / WEIGHTS).unlink()
    with pytest.raises(ValueError, match="a folder with both files"):
        keras_regvq.from_preset(tmp_path / "a")
    (tmp_path / "a" / WEIGHTS).mkdir()
    with pytest.raises(ValueError, match=f"{WEIGHTS}.*a folder"):
        keras_regvq.from_preset(tmp_path / "a")
    (tmp_path / "a" / "config.json").write_text("[" * 10**5)
    with pytest.raises(ValueError, match="config.json"):
        keras_regvq.from_preset(tmp_path / "a")


@pytest.mark.parametrize(
    "project, options",
    [
        ("taming", {}), ("llamagen", {"normalize": True}), ("diffusers", {}),
        # Projects that do not normalize get codes of length 1.
        ("taming", {"normalize": True}), ("diffusers", {"normalize": True}),
        ("taming", {"normalize": True, "ema": 0.9}),
    ],
)  # fmt: skip
def test_a_tokenizer_without_middle_attention_reads_back(tmp_path, project, options):
    quantizer = keras_regvq.quantizers.VectorQuantizer(20, 6, **options)
    tokenizer = keras_regvq.models.ImageTokenizer(
        16, quantizer, 32, (1, 2), 1, (), 8, middle_attention=False
    )
    path = keras_regvq.presets.export(tokenizer, tmp_path, project)
    if project == "diffusers":
        path = path.parent
    again = keras_regvq.from_preset(path, image_size=16)
    pictures = np.random.default_rng(0).random((2, 16, 24, 3), dtype="float32")
    tokens = tokenizer.encode(pictures)
    assert not again.architecture["middle_attention"] and len(np.unique(tokens)) > 3
    np.testing.assert_array_equal(again.encode(pictures), tokens)
    np.testing.assert_allclose(again.decode(tokens), tokenizer.decode(tokens), atol=1e-5)


@pytest.mark.parametrize("project", ["taming", "llamagen", "diffusers"])
def test_what_could_not_be_read_back_is_refused(tmp_path, project):
    quantizer = keras_regvq.quantizers.VectorQuantizer(20, 6, normalize=project == "llamagen")
    wrong = {"num_res_blocks": {"num_res_blocks": 0}}
    if project == "diffusers":  # the others have the first convolution's channels in the file
        wrong["channel_multipliers"] = {"channel_multipliers": (2, 1)}
    for named, options in wrong.items():
        sizes = {"base_channels": 32, "channel_multipliers": (1, 2), "num_res_blocks": 1, **options}
        tokenizer = keras_regvq.models.ImageTokenizer(16, quantizer, latent_channels=8, **sizes)
        with pytest.raises(ValueError, match=f"`tokenizer` is wrong.*{named}"):
            keras_regvq.presets.export(tokenizer, tmp_path / named, project)
        assert not (tmp_path / named).exists()


def test_a_second_export_replaces_both_files_and_nothing_else(tmp_path):
    for side in (16, 32):
        quantizer = keras_regvq.quantizers.VectorQuantizer(side, 6)
        tokenizer = keras_regvq.models.ImageTokenizer(side, quantizer, 32, (1, 2), 1, (), 8)
        keras_regvq.presets.export(tokenizer, tmp_path / "model", "diffusers")
        (tmp_path / "model" / "README.md").write_text("mine")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "README.md", "config.json", WEIGHTS,
    ]  # fmt: skip
    assert keras_regvq.from_preset(tmp_path / "model").codebook_size == 32

"""from_preset("hf://...") against a server on this machine that speaks the hub's file protocol."""

import json

import huggingface_hub
import numpy as np
import pytest

import keras_regvq
from keras_regvq.files.preset_files import PresetFiles
from tests.presets.formats.open_muse_models import check_open_muse, open_muse_model
from tests.presets.formats.peer_models import check_diffusers, diffusers_model
from tests.presets.formats.test_diffusers_folders import write


@pytest.mark.parametrize("folder", ["", "/vqvae"])
def test_a_vqmodel_of_the_hub_is_a_tokenizer(hub, folder):
    model = diffusers_model()
    model.save_pretrained(hub / f"someone/pictures{folder}")
    check_diffusers(keras_regvq.from_preset(f"hf://someone/pictures{folder}"), model)


@pytest.mark.parametrize("layout", ["bin", "fp16", "shards"])
def test_other_layouts_of_the_weights_are_fetched(hub, layout):
    model = write(hub / "someone" / "pictures", layout)
    check_diffusers(keras_regvq.from_preset("hf://someone/pictures"), model)


def test_a_vqmodel_whose_config_does_not_name_its_class_is_read(hub):
    model = diffusers_model()
    model.save_pretrained(hub / "someone" / "old")
    path = hub / "someone" / "old" / "config.json"
    config = json.loads(path.read_text())
    del config["_class_name"]
    path.write_text(json.dumps(config))
    check_diffusers(keras_regvq.from_preset("hf://someone/old"), model)


@pytest.mark.parametrize("kind", [OSError, ValueError, ImportError])
def test_a_folder_that_cannot_be_fetched_is_an_error_that_names_the_preset(monkeypatch, kind):
    def fail(*arguments, **options):
        raise type("Theirs", (kind,), {})("no connection\nat all")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(kind, match="^hf://someone/words: no connection$"):
        PresetFiles("hf://someone/words").folder("text_encoder")


def test_the_vqmodel_of_a_pipeline_is_found(hub):
    model = diffusers_model()
    model.save_pretrained(hub / "someone" / "pipeline" / "vqvae")
    index = {"_class_name": "AmusedPipeline", "vqvae": ["diffusers", "VQModel"]}
    (hub / "someone" / "pipeline" / "model_index.json").write_text(json.dumps(index))
    check_diffusers(keras_regvq.from_preset("hf://someone/pipeline"), model)


def test_a_preset_of_ours_comes_from_the_hub_too(hub):
    tokenizer = keras_regvq.models.ImageTokenizer(
        16,
        keras_regvq.quantizers.VectorQuantizer(9, 4),
        base_channels=8,
        channel_multipliers=(1, 2),
        attention_resolutions=(),
    )
    tokenizer.save_to_preset(hub / "someone" / "ours")
    loaded = keras_regvq.from_preset("hf://someone/ours")
    images = np.random.default_rng(0).random((2, 16, 16, 3), dtype="float32")
    np.testing.assert_array_equal(loaded.encode(images), tokenizer.encode(images))


def test_a_maskgit_of_the_hub_is_a_tokenizer(hub):
    model = open_muse_model()
    (hub / "someone").mkdir()
    model.save(hub / "someone" / "maskgit")
    check_open_muse(keras_regvq.from_preset("hf://someone/maskgit"), model)


@pytest.mark.parametrize("folder", ["", "/deep"])
def test_a_file_of_weights_of_the_hub_is_a_tokenizer(hub, folder):
    quantizer = keras_regvq.quantizers.VectorQuantizer(9, 4)
    tokenizer = keras_regvq.models.ImageTokenizer(
        16, quantizer, base_channels=32, channel_multipliers=(1, 1), num_res_blocks=1
    )
    path = keras_regvq.presets.export(tokenizer, hub / f"someone/theirs{folder}", "taming")
    loaded = keras_regvq.from_preset(f"hf://someone/theirs{folder}/{path.name}", image_size=16)
    images = np.random.default_rng(0).random((2, 16, 16, 3), dtype="float32")
    np.testing.assert_array_equal(loaded.encode(images), tokenizer.encode(images))


def test_what_the_hub_lacks_is_named(hub):
    (hub / "someone" / "empty").mkdir(parents=True)
    with pytest.raises(ValueError, match="config.json"):
        keras_regvq.from_preset("hf://someone/empty")
    with pytest.raises(ValueError, match="hf://nobody/none"):
        keras_regvq.from_preset("hf://nobody/none")
    with pytest.raises(ValueError, match="(?s)hf://someone/empty/last.ckpt.*a file in it"):
        keras_regvq.from_preset("hf://someone/empty/last.ckpt")
    for handle in ("hf://someone", "hf://someone/../secret", "hf:///name"):
        with pytest.raises(ValueError, match="hf://user/name"):
            keras_regvq.from_preset(handle)

"""What a preset from elsewhere may not do: run code, read other files, fill the memory."""

import base64
import io
import json
import os
import pickle
import shutil

import h5py
import keras
import numpy as np
import pytest

import keras_regvq
from keras_regvq import models
from keras_regvq.models import ImageTokenizer
from tests.presets.test_preset_saving import IMAGES, make_tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "preset"
    model = make_tokenizer()
    model.save_to_preset(folder)
    return folder, model.encode(IMAGES)


@pytest.fixture
def preset(saved, tmp_path):
    return shutil.copytree(saved[0], tmp_path / "preset")


@pytest.fixture
def unsafe():
    """Keras's safe mode off, as users have it who load a Lambda of their own."""
    keras.config.enable_unsafe_deserialization()
    yield
    keras.src.backend.common.global_state.set_global_attribute("safe_mode_saving", None)


def change(preset, function):
    path = preset / "config.json"
    config = json.loads(path.read_text())
    function(config)
    path.write_text(json.dumps(config))


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("place", ["quantizer", "initializer", "build_config", "compile_config"])
def test_code_in_a_config_does_not_run(preset, tmp_path, unsafe, place):
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.save(Touch(tmp_path / "ran"), buffer, pickle_module=pickle)
    hostile = {
        "module": "keras",
        "class_name": "layers.TorchModuleWrapper",
        "registered_name": None,
        "config": {"name": "q", "module": base64.b64encode(buffer.getvalue()).decode()},
    }

    def put(config):
        if place == "quantizer":
            config["config"]["quantizer"] = hostile
        elif place == "initializer":
            config["config"]["quantizer"]["config"]["codebook_initializer"] = hostile
        else:
            config["config"]["quantizer"][place] = config[place] = hostile

    change(preset, put)
    if place in ("quantizer", "initializer"):
        with pytest.raises(ValueError, match="`preset`.*TorchModuleWrapper.*only classes"):
            keras_regvq.from_preset(preset)
    else:  # left aside: this package writes neither
        assert keras_regvq.from_preset(preset).codebook_size == 16
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("base_channels", 10**6), ("base_channels", 10**12), ("num_res_blocks", 10**9),
        ("latent_channels", 2**30), ("channel_multipliers", [1] * 500), ("dropout", None),
        ("image_size", "large"), ("quantizer", 5), ("attention_resolutions", 5), ("bogus", 1),
    ],
)  # fmt: skip
def test_sizes_that_no_model_has_are_refused_at_once(preset, key, value):
    change(preset, lambda config: config["config"].update({key: value}))
    with pytest.raises(ValueError, match="`preset`.*preset"):
        keras_regvq.from_preset(preset)


@pytest.mark.parametrize("size", [10**6, 10**12])
def test_a_model_without_weights_is_not_built_either_if_no_memory_can_hold_it(preset, size):
    change(preset, lambda config: config["config"].update(base_channels=size))
    with pytest.raises(ValueError, match="`preset`.*preset"):
        keras_regvq.from_preset(preset, load_weights=False)


def test_a_config_nested_deeply_is_a_value_error(preset):
    for text in ("[" * 10**5, '{"config":' * 3000 + "1" + "}" * 3000):
        (preset / "config.json").write_text(text)
        for load in (keras_regvq.from_preset, ImageTokenizer.from_preset):
            with pytest.raises(ValueError, match="config.json"):
                load(preset)


def first_weight(file):
    names = []
    file.visit(lambda name: names.append(name) if name.endswith("vars/0") else None)
    return names[0]


def test_weights_of_other_files_are_not_read(preset, tmp_path):
    with h5py.File(preset / "model.weights.h5", "r+") as file:
        name = first_weight(file)
        shape = file[name].shape
        del file[name]
        external = [(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset(name, shape, "f4", external=external)
    (tmp_path / "secret").write_bytes(bytes(10**5))
    with pytest.raises(ValueError, match="model.weights.h5.*other files"):
        keras_regvq.from_preset(preset)


def test_weights_left_over_and_missing_are_counted_and_named(preset):
    with h5py.File(preset / "model.weights.h5", "r+") as file:
        name = first_weight(file)
        file["more/vars/0"] = file["more/vars/1"] = np.zeros(3)
        del file[name]
    with pytest.raises(ValueError, match=f"2 left over: more/vars/0.*1 missing: {name}"):
        keras_regvq.from_preset(preset)


def test_what_compiling_adds_is_neither_saved_nor_missed(preset, saved, tmp_path):
    with h5py.File(preset / "model.weights.h5", "r+") as file:  # as earlier versions left it
        file["prior/optimizer/vars/0"] = file["_loss_tracker/vars/0"] = 0.0
    np.testing.assert_array_equal(keras_regvq.from_preset(preset).encode(IMAGES), saved[1])
    model = make_tokenizer()
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.save_to_preset(tmp_path / "compiled")
    sizes = [(p / "model.weights.h5").stat().st_size for p in (saved[0], tmp_path / "compiled")]
    assert sizes[0] == sizes[1]


def split(preset, names=("model_00000.weights.h5", "model_00001.weights.h5")):
    """Two shards, as KerasHub writes them."""
    weight_map, found = {}, []
    with h5py.File(preset / "model.weights.h5") as source:
        source.visititems(lambda n, item: found.append(n) if hasattr(item, "shape") else None)
        for shard, part in zip(names, (found[::2], found[1::2]), strict=True):
            with h5py.File(preset / shard, "w") as target:
                for name in part:
                    target[name] = source[name][()]
                    weight_map.setdefault("/" + name.rpartition("/")[0], []).append(shard)
    (preset / "model.weights.h5").unlink()
    (preset / "model.weights.json").write_text(json.dumps({"weight_map": weight_map}))


def test_shards_are_read_and_checked_as_one_file_is(preset, saved):
    split(preset)
    np.testing.assert_array_equal(keras_regvq.from_preset(preset).encode(IMAGES), saved[1])
    with h5py.File(preset / "model_00001.weights.h5", "r+") as file:
        file["v"] = h5py.ExternalLink("model_00000.weights.h5", "/")
    with pytest.raises(ValueError, match="model_00001.*ExternalLink"):
        keras_regvq.from_preset(preset)
    (preset / "model_00001.weights.h5").unlink()
    with pytest.raises(ValueError, match="model_00001.*a shard that is there"):
        keras_regvq.from_preset(preset)


@pytest.mark.parametrize(
    "weight_map",
    [{"a": "../model.weights.h5"}, {"a": "/etc/passwd"}, {"a": [5]}, {"a": None}, [], None, 5],
)
def test_a_list_of_shards_names_files_beside_it_alone(preset, weight_map):
    (preset / "model.weights.h5").rename(preset.parent / "model.weights.h5")
    (preset / "model.weights.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ValueError, match="`preset`.*model.weights.json"):
        keras_regvq.from_preset(preset)


@pytest.mark.parametrize("argument", [5, None, b"preset", ["preset"], "", 1.5, "a\0b"])
def test_what_is_no_preset_is_refused_by_name(argument):
    for load in (keras_regvq.from_preset, ImageTokenizer.from_preset):
        with pytest.raises(ValueError, match="`preset`"):
            load(argument)


def test_folders_and_files_without_a_preset_are_named(tmp_path):
    (tmp_path / "file.txt").write_text("text")
    (tmp_path / "empty").mkdir()
    for name, message in (("file.txt", "an existing directory"), ("empty", "has no config.json")):
        for load in (keras_regvq.from_preset, ImageTokenizer.from_preset):
            with pytest.raises(ValueError, match=f"`preset`.*{name}.*{message}"):
                load(tmp_path / name)


@pytest.mark.parametrize("name", ["hf://someone/model", "/etc", "../..", "bert_tiny_en_uncased", 5])
def test_a_text_encoder_inside_a_preset_names_its_own_folder_alone(tmp_path, name, monkeypatch):
    prior = models.DiffusionPrior(
        16, (8, 8), channels=8, channel_multipliers=(1,), attention_levels=(), num_res_blocks=1,
        num_heads=2, condition=models.TextFeatureCondition(4, 6),
    )  # fmt: skip
    monkeypatch.setattr(models.PretrainedTextEncoder, "save", lambda self, folder: folder.mkdir())
    encoder = models.PretrainedTextEncoder("bert_tiny_en_uncased", max_length=4)
    models.TextToImage(make_tokenizer(), prior, encoder).save_to_preset(tmp_path / "preset")
    assert encoder.preset == "bert_tiny_en_uncased"  # saving changes nothing
    change(
        tmp_path / "preset",
        lambda config: config["config"]["text_encoder"]["config"].update(preset=name),
    )
    with pytest.raises(ValueError, match="`preset`.*`text_encoder`.*text_encoder="):
        keras_regvq.from_preset(tmp_path / "preset")
    mine = models.PretrainedTextEncoder("somewhere", max_length=4)
    loaded = keras_regvq.from_preset(tmp_path / "preset", text_encoder=mine)
    assert loaded.text_encoder is mine and mine.preset == "somewhere"

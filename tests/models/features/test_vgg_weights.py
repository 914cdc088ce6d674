"""The weights of VGG-19 from every kind of file, against plain PyTorch; and bad files."""

import json
import os
import pickle

import h5py
import keras
import keras_hub
import numpy as np
import pytest
import safetensors.numpy
import torch

from keras_regvq.models.features import vgg_weights as feature_weights
from keras_regvq.models.features.vgg import VGG19Features
from tests.models.features.vgg19_peer import (
    TORCHVISION,
    numpy_list,
    random_images,
    random_tensors,
    relative_errors,
    torch_features,
)

LAYERS = [f"block{b}_conv{c}" for b, n in enumerate((2, 2, 4, 4, 4), 1) for c in range(1, n + 1)]


@pytest.fixture(scope="module")
def tensors():
    return random_tensors()


@pytest.fixture(scope="module")
def keras_weights(tensors):
    """The same weights as Keras keeps them: one (kernel, bias) a layer."""
    return [
        (tensors[f"features.{i}.weight"].transpose(2, 3, 1, 0), tensors[f"features.{i}.bias"])
        for i in TORCHVISION
    ]


@pytest.fixture(scope="module")
def keras_network(keras_weights):
    network = keras.applications.VGG19(include_top=False, weights=None, input_shape=(None, None, 3))
    for layer, arrays in zip(LAYERS, keras_weights, strict=True):
        network.get_layer(layer).set_weights(arrays)
    return network


@pytest.fixture(scope="module")
def files(tensors, keras_weights, keras_network, tmp_path_factory):
    """The weights in every format that is read, with tensors in them that nobody needs."""
    folder = tmp_path_factory.mktemp("vgg19")
    extra = {**tensors, "classifier.0.weight": np.zeros((4, 4), "float32")}
    files = {
        name: str(folder / f"vgg19{name}")
        for name in (".pth", ".safetensors", ".weights.h5", ".h5", "-model.h5")
    }
    torch.save({name: torch.from_numpy(array) for name, array in extra.items()}, files[".pth"])
    safetensors.numpy.save_file(
        {name: np.ascontiguousarray(array) for name, array in extra.items()}, files[".safetensors"]
    )
    keras_network.save_weights(files[".weights.h5"])
    keras_network.save(files["-model.h5"])
    with h5py.File(files[".h5"], "w") as file:  # as Keras 2 wrote vgg19_weights_..._notop.h5
        file.attrs["layer_names"] = [name.encode() for name in ("input_1", *LAYERS)]
        file.create_group("input_1").attrs["weight_names"] = []
        for layer, arrays in zip(LAYERS, keras_weights, strict=True):
            names = [f"{layer}_W_1:0", f"{layer}_b_1:0"]
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, array in zip(names, arrays, strict=True):
                group.create_dataset(name, data=array)
    return files


@pytest.fixture(scope="module")
def preset(keras_weights, tmp_path_factory):
    network = keras_hub.models.VGGBackbone([2, 2, 4, 4, 4], [64, 128, 256, 512, 512])
    for layer, arrays in zip(LAYERS, keras_weights, strict=True):
        network.get_layer(layer).set_weights(arrays)
    folder = str(tmp_path_factory.mktemp("preset"))
    network.save_to_preset(folder)
    return folder


@pytest.mark.parametrize(
    "file, given, mode",
    [
        (".pth", None, "imagenet"),
        (".safetensors", None, "imagenet"),
        (".weights.h5", "imagenet", "imagenet"),
        (".weights.h5", "caffe", "caffe"),
        (".h5", None, "caffe"),
        ("-model.h5", "imagenet", "imagenet"),
    ],
)
def test_five_taps_equal_plain_torch_with_the_weights_of_a_file(files, file, given, mode):
    extractor = VGG19Features(files[file], preprocessing=given)
    assert extractor.get_config()["preprocessing"] == mode
    images = random_images()
    references = torch_features(torch.from_numpy(images), mode)
    assert max(relative_errors(extractor(images), references)) < 1e-5


def test_preset_folder_and_download_equal_plain_torch(preset, monkeypatch):
    images = random_images()
    references = torch_features(torch.from_numpy(images))
    assert max(relative_errors(VGG19Features(preset)(images), references)) < 1e-5

    # "imagenet" takes the same way under the name that KerasHub downloads.
    asked, load = [], feature_weights.VGGBackbone.from_preset
    monkeypatch.setattr(
        feature_weights.VGGBackbone, "from_preset", lambda name: asked.append(name) or load(preset)
    )
    assert max(relative_errors(VGG19Features("imagenet")(images), references)) < 1e-5
    assert asked == ["vgg_19_imagenet"]


def test_a_backbone_is_used_as_it_is_and_kept_in_the_config(keras_network):
    images = random_images()
    extractor = VGG19Features(backbone=keras_network, preprocessing="caffe")
    references = torch_features(torch.from_numpy(images), "caffe")
    assert max(relative_errors(extractor(images), references)) < 1e-5
    copy = VGG19Features.from_config(extractor.get_config())
    copy.set_weights(extractor.get_weights())
    assert max(relative_errors(copy(images), references)) < 1e-5
    with pytest.raises(ValueError, match="`weights`.*backbone"):
        VGG19Features("imagenet", backbone=keras_network)


def test_weights_that_are_no_file_no_preset_and_no_string_are_refused(tmp_path, files):
    with pytest.raises(ValueError, match="`weights`.*'image-net'.*exists"):
        VGG19Features("image-net")
    with pytest.raises(ValueError, match="`weights`.*3.*a path"):
        VGG19Features(3)
    with pytest.raises(ValueError, match="`weights`.*config.json"):
        VGG19Features(str(tmp_path))
    (tmp_path / "weights.txt").write_text("VGG")
    with pytest.raises(ValueError, match="`weights`.*weights.txt.*safetensors"):
        VGG19Features(tmp_path / "weights.txt")
    with pytest.raises(ValueError, match="`preprocessing`.*'imagenet' or 'caffe'"):
        VGG19Features(files[".weights.h5"])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".weights.h5", ".h5"])
def test_truncated_files_and_files_of_another_type_are_refused(files, tmp_path, suffix):
    path = tmp_path / f"broken{suffix}"
    with open(files[suffix], "rb") as file:
        path.write_bytes(file.read(os.path.getsize(files[suffix]) // 2))
    with pytest.raises(ValueError, match="`weights`.*broken.*cannot be read") as error:
        VGG19Features(str(path), preprocessing="imagenet")
    assert str(error.value).count("Argument") == str(error.value).count("broken") == 1
    path.write_bytes(b"not a file of weights")
    with pytest.raises(ValueError, match="`weights`.*broken.*cannot be read"):
        VGG19Features(str(path), preprocessing="imagenet")


def test_missing_and_misshapen_tensors_are_named(tensors, tmp_path):
    path = str(tmp_path / "vgg19.safetensors")
    first_layers = {name: array for name, array in tensors.items() if len(name) <= 17}
    names = ["block2_conv1"]  # so that features.0, features.2 and features.5 are needed
    wrong = {k: np.ascontiguousarray(v) for k, v in first_layers.items() if k != "features.2.bias"}
    safetensors.numpy.save_file(wrong, path)
    with pytest.raises(ValueError, match=r"'features.2.bias'.*\(64,\)"):
        VGG19Features(path, layer_names=names)
    wrong["features.2.bias"] = np.zeros(64, "float32")
    wrong["features.5.weight"] = np.zeros((64, 64, 3, 3), "float32")
    safetensors.numpy.save_file(wrong, path)
    message = r"'features.5.weight' of shape \(64, 64, 3, 3\).*\(128, 64, 3, 3\)"
    with pytest.raises(ValueError, match=message):
        VGG19Features(path, layer_names=names)


def test_another_network_of_the_vgg_family_is_refused(tmp_path):
    narrow = keras_hub.models.VGGBackbone([2, 2, 3, 3, 3], [64, 8, 8, 8, 8])
    narrow.save_to_preset(str(tmp_path))
    with pytest.raises(ValueError, match=r"block2_conv1 has shape \(3, 3, 64, 8\)"):
        VGG19Features(str(tmp_path))
    VGG19Features(str(tmp_path), layer_names=["block1_conv2"])


class Hostile:
    def __reduce__(self):
        return os.mkdir, (os.environ["HOSTILE_TARGET"],)


@pytest.mark.parametrize("with_torch", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path, monkeypatch, with_torch):
    target = tmp_path / "executed"
    monkeypatch.setenv("HOSTILE_TARGET", str(target))
    path = str(tmp_path / "hostile.pth")
    if with_torch:
        torch.save({"features.0.weight": Hostile()}, path)
    else:
        with open(path, "wb") as file:
            pickle.dump({"features.0.weight": Hostile()}, file)
    with pytest.raises(ValueError, match="`weights`.*hostile.pth"):
        VGG19Features(path)
    assert not target.exists()
    if with_torch:  # the file does run code where it is let
        torch.load(path, weights_only=False)
        assert target.exists()


def test_config_and_weights_give_the_same_network_back(files, tmp_path):
    images = random_images(1, 16, 16)
    path = str(tmp_path / "features.keras")
    original = VGG19Features(files[".h5"], layer_names=["block2_conv1", "block1_conv1"])
    original.save(path)
    copy = keras.saving.load_model(path)
    assert type(copy) is VGG19Features and copy.get_config() == original.get_config()
    assert copy.get_config()["preprocessing"] == "caffe"
    assert copy.trainable_variables == []
    for a, b in zip(copy(images), original(images), strict=True):
        np.testing.assert_array_equal(*numpy_list([a, b]))


def test_an_h5_file_that_reaches_into_others_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["block1_conv1"] = h5py.ExternalLink("/etc/passwd", "/")
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        file["layers/conv2d/vars/0"] = h5py.SoftLink("/layers")
    for name in ("a.h5", "a.weights.h5"):
        with pytest.raises(ValueError, match=f"`weights`.*{name}.*Link"):
            VGG19Features(tmp_path / name, preprocessing="imagenet")


def test_a_preset_that_cannot_be_fetched_is_one_line(monkeypatch):
    def offline(preset):
        raise ConnectionError("Max retries exceeded\nTraceback")

    monkeypatch.setattr("keras_regvq.models.features.vgg_weights.VGGBackbone.from_preset", offline)
    with pytest.raises(OSError, match="`weights`.*imagenet.*Max retries.*a file") as error:
        VGG19Features("imagenet")
    assert "\n" not in str(error.value)


def test_a_folder_of_keras_hub_is_checked_before_it_is_read(tmp_path):
    network = keras_hub.models.VGGBackbone([2], [64])
    network.save_to_preset(str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    config["config"]["name"] = {"module": "keras", "class_name": "layers.Lambda", "config": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="`weights`.*config.json"):
        VGG19Features(tmp_path, layer_names=("block1_conv1",))

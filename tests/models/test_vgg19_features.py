import os
import pickle

import h5py
import keras
import keras_hub
import numpy as np
import pytest
import safetensors.numpy
import torch
from keras import ops

from keras_regvq.models import feature_weights
from keras_regvq.models.vgg19_features import FeatureExtractor, VGG19Features

# torchvision's vgg19().features: the index and width of each convolution, and its ReLU taps.
TORCHVISION = {
    **{0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 16: 256},
    **{19: 512, 21: 512, 23: 512, 25: 512, 28: 512, 30: 512, 32: 512, 34: 512},
}
TORCHVISION_TAPS = (3, 8, 15, 24, 33)
LAYERS = [f"block{b}_conv{c}" for b, n in enumerate((2, 2, 4, 4, 4), 1) for c in range(1, n + 1)]


@pytest.fixture(scope="session")
def tensors():
    """Random weights under torchvision's names; biases are not zero, so that they count."""
    generator, tensors, channels = np.random.default_rng(0), {}, 3
    for index, filters in TORCHVISION.items():
        kernel = generator.standard_normal((filters, channels, 3, 3), dtype="float32")
        tensors[f"features.{index}.weight"] = kernel * np.float32(np.sqrt(2 / (9 * channels)))
        bias = generator.standard_normal(filters, dtype="float32")
        tensors[f"features.{index}.bias"] = bias * np.float32(0.1)
        channels = filters
    return tensors


@pytest.fixture(scope="session")
def keras_weights(tensors):
    """The same weights as Keras keeps them: one (kernel, bias) a layer."""
    return [
        (tensors[f"features.{i}.weight"].transpose(2, 3, 1, 0), tensors[f"features.{i}.bias"])
        for i in TORCHVISION
    ]


@pytest.fixture(scope="session")
def keras_network(keras_weights):
    network = keras.applications.VGG19(include_top=False, weights=None, input_shape=(None, None, 3))
    for layer, arrays in zip(LAYERS, keras_weights, strict=True):
        network.get_layer(layer).set_weights(arrays)
    return network


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def preset(keras_weights, tmp_path_factory):
    network = keras_hub.models.VGGBackbone([2, 2, 4, 4, 4], [64, 128, 256, 512, 512])
    for layer, arrays in zip(LAYERS, keras_weights, strict=True):
        network.get_layer(layer).set_weights(arrays)
    folder = str(tmp_path_factory.mktemp("preset"))
    network.save_to_preset(folder)
    return folder


@pytest.fixture(scope="session")
def extractor(files):
    return VGG19Features(files[".safetensors"])


def random_images(count=2, height=48, width=37):
    return np.random.default_rng(1).random((count, height, width, 3), dtype="float32")


def torch_features(tensors, images, preprocessing="imagenet"):
    """VGG-19 in plain torch, by torchvision's layer indices. `images` (B, H, W, 3), in [0, 1]."""
    x = images.permute(0, 3, 1, 2)
    if preprocessing == "imagenet":
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        x = (x - mean[:, None, None]) / deviation[:, None, None]
    else:
        x = 255 * x.flip(1) - torch.tensor([103.939, 116.779, 123.68])[:, None, None]
    features = []
    for index in range(34):
        if index in TORCHVISION:
            weight, bias = (tensors[f"features.{index}.{kind}"] for kind in ("weight", "bias"))
            weight, bias = torch.from_numpy(weight), torch.from_numpy(bias)
            x = torch.nn.functional.conv2d(x, weight, bias, padding=1)
        elif index in (4, 9, 18, 27):
            x = torch.nn.functional.max_pool2d(x, 2)
        else:
            x = torch.relu(x)
        if index in TORCHVISION_TAPS:
            features.append(x.permute(0, 2, 3, 1))
    return features


def numpy_list(features):
    return [ops.convert_to_numpy(ops.stop_gradient(feature)) for feature in features]


def gradient(function, x):
    """Gradient of a scalar function with respect to a NumPy array, by the backend in use."""
    x = ops.convert_to_tensor(x)
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(x))
    if keras.backend.backend() == "torch":
        x.requires_grad_(True)
        return torch.autograd.grad(function(x), x)[0].cpu().numpy()
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x).numpy()


def relative_errors(features, references):
    pairs = list(zip(numpy_list(features), references, strict=True))
    assert [a.shape for a, _ in pairs] == [tuple(b.shape) for _, b in pairs]
    return [
        np.linalg.norm(a - b.detach().numpy()) / np.linalg.norm(b.detach().numpy())
        for a, b in pairs
    ]


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
def test_five_taps_equal_plain_torch_with_the_weights_of_a_file(tensors, files, file, given, mode):
    extractor = VGG19Features(files[file], preprocessing=given)
    assert extractor.get_config()["preprocessing"] == mode
    images = random_images()
    references = torch_features(tensors, torch.from_numpy(images), mode)
    assert max(relative_errors(extractor(images), references)) < 1e-5


def test_preset_folder_and_download_equal_plain_torch(tensors, preset, monkeypatch):
    images = random_images()
    references = torch_features(tensors, torch.from_numpy(images))
    assert max(relative_errors(VGG19Features(preset)(images), references)) < 1e-5

    # "imagenet" takes the same way under the name that KerasHub downloads.
    asked, load = [], feature_weights.VGGBackbone.from_preset
    monkeypatch.setattr(
        feature_weights.VGGBackbone, "from_preset", lambda name: asked.append(name) or load(preset)
    )
    assert max(relative_errors(VGG19Features("imagenet")(images), references)) < 1e-5
    assert asked == ["vgg_19_imagenet"]


def test_gradient_with_respect_to_the_images_equals_torch(tensors, extractor):
    images = random_images(1, 32, 32)
    leaf = torch.from_numpy(images.copy()).requires_grad_(True)
    features = torch_features(tensors, leaf)
    generator = np.random.default_rng(2)
    directions = [generator.standard_normal(f.shape, dtype="float32") for f in features]
    products = [f * torch.from_numpy(d) for f, d in zip(features, directions, strict=True)]
    sum(product.sum() for product in products).backward()

    def projection(x):
        pairs = zip(extractor(x), directions, strict=True)
        return sum(ops.sum(f * ops.convert_to_tensor(d)) for f, d in pairs)

    reference = leaf.grad.numpy()
    difference = gradient(projection, images) - reference
    error = np.linalg.norm(difference) / np.linalg.norm(reference)
    assert error < 1e-5


def test_uint8_images_are_the_floats_they_stand_for(extractor):
    images = (255 * random_images()).astype("uint8")
    for a, b in zip(extractor(images), extractor(images / np.float32(255)), strict=True):
        a, b = numpy_list([a, b])
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_only_the_layers_that_the_taps_need_exist(extractor):
    assert "block5_conv4" not in [layer.name for layer in extractor.network.layers]
    shallow = VGG19Features(layer_names=["block2_conv1", "block1_conv1"])
    convolutions = [layer.name for layer in shallow.network.layers if "conv" in layer.name]
    assert convolutions == ["block1_conv1", "block1_conv2", "block2_conv1"]
    images = random_images(1, 16, 16)
    assert [tuple(f.shape) for f in shallow(images)] == [(1, 8, 8, 128), (1, 16, 16, 64)]


def test_one_tap_is_a_list_of_one_eagerly_and_symbolically():
    single = VGG19Features(layer_names=["block1_conv2"])
    for images in (random_images(1, 16, 16), keras.Input((None, None, 3))):
        features = single(images)
        assert isinstance(features, list) and len(features) == 1
        assert features[0].shape[-1] == 64


def test_random_weights_follow_the_seed():
    images = random_images(1, 16, 16)

    def features(seed=None):
        return numpy_list(VGG19Features(layer_names=["block2_conv2"], seed=seed)(images))[0]

    np.testing.assert_array_equal(features(seed=3), features(seed=3))
    assert np.abs(features(seed=3) - features(seed=4)).max() > 0.1
    keras.utils.set_random_seed(5)
    first = features()
    assert np.abs(first - features()).max() > 0.1
    keras.utils.set_random_seed(5)
    np.testing.assert_array_equal(features(), first)


def test_it_stays_frozen_even_inside_a_model_made_trainable(extractor):
    assert extractor.trainable_variables == [] and len(extractor.variables) == 2 * 15
    holder = keras.Sequential([keras.layers.Conv2D(3, 1), extractor])
    holder.trainable = True
    extractor.trainable = True
    assert not extractor.trainable and extractor.trainable_variables == []
    assert not any(variable.trainable for variable in extractor.variables)
    assert not any(layer.trainable for layer in extractor.network.layers)


def test_dropout_and_batch_statistics_stay_off_while_a_model_around_it_trains():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization(name="norm")(inputs)
    outputs = keras.layers.Dropout(0.5, seed=0, name="drop")(x)
    extractor = FeatureExtractor(keras.Model(inputs, outputs), ["drop"])
    images = random_images(2, 8, 8)
    before = numpy_list(extractor.network.variables)
    trained, inferred = extractor(images, training=True), extractor(images)
    np.testing.assert_array_equal(*numpy_list([trained[0], inferred[0]]))
    for a, b in zip(before, numpy_list(extractor.network.variables), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def test_mixed_precision_computes_in_bfloat16_with_float32_weights(tensors, files, mixed_precision):
    extractor = VGG19Features(files[".safetensors"])
    images = random_images()
    features = extractor(images)
    assert {keras.backend.standardize_dtype(feature.dtype) for feature in features} == {"bfloat16"}
    assert {variable.dtype for variable in extractor.variables} == {"float32"}
    references = torch_features(tensors, torch.from_numpy(images))
    assert max(relative_errors([ops.cast(f, "float32") for f in features], references)) < 0.05


def test_mixed_precision_does_not_round_the_images_before_they_are_normalized(mixed_precision):
    inputs = keras.Input((None, None, 3), dtype="float32")
    network = keras.Model(inputs, keras.layers.Identity(name="same", dtype="float32")(inputs))
    images = random_images()
    (caffe,) = FeatureExtractor(network, ["same"], preprocessing="caffe")(images)
    expected = 255 * images[..., ::-1] - np.array([103.939, 116.779, 123.68], "float32")
    np.testing.assert_allclose(numpy_list([caffe])[0], expected, atol=1e-4)


def test_config_and_weights_give_the_same_network_back(extractor, files, tmp_path):
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


def test_a_backbone_is_used_as_it_is_and_kept_in_the_config(keras_network, tensors):
    images = random_images()
    extractor = VGG19Features(backbone=keras_network, preprocessing="caffe")
    references = torch_features(tensors, torch.from_numpy(images), "caffe")
    assert max(relative_errors(extractor(images), references)) < 1e-5
    copy = VGG19Features.from_config(extractor.get_config())
    copy.set_weights(extractor.get_weights())
    assert max(relative_errors(copy(images), references)) < 1e-5
    with pytest.raises(ValueError, match="`weights`.*backbone"):
        VGG19Features("imagenet", backbone=keras_network)


def test_any_functional_network_can_give_features():
    network = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(4, 3, name="first"),
            keras.layers.Conv2D(5, 3, name="second"),
            keras.layers.Dense(6, name="unused"),
        ]
    )
    layer = keras.layers.Rescaling(2.0, offset=-1.0)
    images = random_images(2, 16, 16)
    extractor = FeatureExtractor(network, ["second", "first"], preprocessing=layer)
    second, first = numpy_list(extractor(images))
    expected = network.get_layer("first")(ops.convert_to_tensor(2 * images - 1))
    np.testing.assert_allclose(first, numpy_list([expected])[0], rtol=1e-5, atol=1e-5)
    assert second.shape == (2, 12, 12, 5) and len(extractor.variables) == 4

    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(extractor))
    copy.set_weights(extractor.get_weights())
    np.testing.assert_allclose(numpy_list(copy(images))[1], first, rtol=1e-6)


def test_a_layer_that_is_not_there_is_answered_with_those_that_are():
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="first")])
    with pytest.raises(ValueError, match="`layer_names`.*'third'.*first"):
        FeatureExtractor(network, ["third"])
    with pytest.raises(ValueError, match="`layer_names`.*'relu1_2'.*'block1_conv2'"):
        VGG19Features(layer_names=["relu1_2"])
    with pytest.raises(ValueError, match="`layer_names`.*at least one"):
        VGG19Features(layer_names=[])
    with pytest.raises(ValueError, match="`layer_names`.*at least one"):
        FeatureExtractor(network, [])
    with pytest.raises(ValueError, match="`model`.*functional"):
        FeatureExtractor(keras.layers.Dense(3), ["first"])
    with pytest.raises(ValueError, match="`preprocessing`.*'torch'.*'imagenet', 'caffe'"):
        FeatureExtractor(network, ["first"], preprocessing="torch")


def test_wrong_images_are_refused(extractor):
    with pytest.raises(ValueError, match="`images`.*at least 16"):
        extractor(random_images(1, 15, 32))
    with pytest.raises(ValueError, match="`images`.*int32"):
        extractor(np.zeros((1, 32, 32, 3), "int32"))
    with pytest.raises(ValueError, match="`images`.*shape"):
        extractor(np.zeros((1, 32, 32, 1), "float32"))


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
    with pytest.raises(ValueError, match="`weights`.*broken.*cannot be read as"):
        VGG19Features(str(path), preprocessing="imagenet")
    path.write_bytes(b"not a file of weights")
    with pytest.raises(ValueError, match="`weights`.*broken.*cannot be read as"):
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


def test_a_missing_reader_is_an_import_error_that_names_it(files, monkeypatch):
    def without_package(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(feature_weights.importlib, "import_module", without_package)
    with pytest.raises(ImportError, match="safetensors file needs the package 'safetensors'"):
        VGG19Features(files[".safetensors"])

"""VGG-19's five feature maps, against plain PyTorch."""

import keras
import numpy as np
import pytest
import safetensors.numpy
import torch
from keras import ops

from keras_regvq.models.features.vgg import VGG19Features
from tests.gradients import value_and_gradients
from tests.models.features.vgg19_peer import (
    numpy_list,
    random_images,
    random_tensors,
    relative_errors,
    torch_features,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg19") / "vgg19.safetensors"
    safetensors.numpy.save_file(random_tensors(), path)
    return path


@pytest.fixture(scope="module")
def extractor(path):
    return VGG19Features(path)


def test_gradient_with_respect_to_the_images_equals_torch(extractor):
    images = random_images(1, 32, 32)
    leaf = torch.from_numpy(images.copy()).requires_grad_(True)
    features = torch_features(leaf)
    generator = np.random.default_rng(2)
    directions = [generator.standard_normal(f.shape, dtype="float32") for f in features]
    products = [f * torch.from_numpy(d) for f, d in zip(features, directions, strict=True)]
    sum(product.sum() for product in products).backward()

    def projection(x):
        pairs = zip(extractor(x), directions, strict=True)
        return sum(ops.sum(f * ops.convert_to_tensor(d)) for f, d in pairs)

    reference = leaf.grad.numpy()
    _, (gradient,) = value_and_gradients(projection, images)
    difference = gradient - reference
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


@pytest.fixture
def mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def test_mixed_precision_computes_in_bfloat16_with_float32_weights(path, mixed_precision):
    extractor = VGG19Features(path)
    images = random_images()
    features = extractor(images)
    assert {keras.backend.standardize_dtype(feature.dtype) for feature in features} == {"bfloat16"}
    assert {variable.dtype for variable in extractor.variables} == {"float32"}
    references = torch_features(torch.from_numpy(images))
    assert max(relative_errors([ops.cast(f, "float32") for f in features], references)) < 0.05


def test_wrong_images_are_refused(extractor):
    with pytest.raises(ValueError, match="`images`.*at least 16"):
        extractor(random_images(1, 15, 32))
    with pytest.raises(ValueError, match="`images`.*int32"):
        extractor(np.zeros((1, 32, 32, 3), "int32"))
    with pytest.raises(ValueError, match="`images`.*shape"):
        extractor(np.zeros((1, 32, 32, 1), "float32"))


def test_layers_that_vgg_19_has_not_are_answered_with_those_that_it_has():
    with pytest.raises(ValueError, match="`layer_names`.*'relu1_2'.*'block1_conv2'"):
        VGG19Features(layer_names=["relu1_2"])
    with pytest.raises(ValueError, match="`layer_names`.*at least one"):
        VGG19Features(layer_names=[])

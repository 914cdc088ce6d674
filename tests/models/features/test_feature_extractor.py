"""Features of any network of layers, always frozen."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_regvq.models.features.feature_extractor import FeatureExtractor
from tests.models.features.vgg19_peer import (
    numpy_list,
    random_images,
)


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


def test_mixed_precision_does_not_round_the_images_before_they_are_normalized(mixed_precision):
    inputs = keras.Input((None, None, 3), dtype="float32")
    network = keras.Model(inputs, keras.layers.Identity(name="same", dtype="float32")(inputs))
    images = random_images()
    (caffe,) = FeatureExtractor(network, ["same"], preprocessing="caffe")(images)
    expected = 255 * images[..., ::-1] - np.array([103.939, 116.779, 123.68], "float32")
    np.testing.assert_allclose(numpy_list([caffe])[0], expected, atol=1e-4)


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
    with pytest.raises(ValueError, match="`layer_names`.*at least one"):
        FeatureExtractor(network, [])
    with pytest.raises(ValueError, match="`model`.*functional"):
        FeatureExtractor(keras.layers.Dense(3), ["first"])
    with pytest.raises(ValueError, match="`preprocessing`.*'torch'.*'imagenet', 'caffe'"):
        FeatureExtractor(network, ["first"], preprocessing="torch")

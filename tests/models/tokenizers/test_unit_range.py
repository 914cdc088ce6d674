"""A network on pixels in [0, 1], against the same weights in one on [-1, 1]."""

import keras
import numpy as np

from keras_regvq.models import ImageTokenizer
from keras_regvq.models.tokenizers.fingerprint import tokens_fingerprint
from keras_regvq.quantizers import VectorQuantizer


def make(unit_range):
    keras.utils.set_random_seed(0)
    sizes = {"channel_multipliers": (1, 2), "num_res_blocks": 1, "attention_resolutions": (8,)}
    quantizer = VectorQuantizer(6, 4)
    return ImageTokenizer(16, quantizer, 8, latent_channels=4, unit_range=unit_range, **sizes)


def test_the_first_convolution_sees_zero_to_one_and_the_last_one_gives_it(rng):
    plain, unit = make(False), make(True)
    unit.set_weights(plain.get_weights())
    images = rng.random((2, 16, 24, 3), dtype="float32")
    features = keras.ops.convert_to_numpy(plain.encoder(images))
    given = keras.ops.convert_to_numpy(unit.features(images))
    np.testing.assert_allclose(given, features, atol=1e-5)
    tokens = plain.quantizer.best_tokens(features)
    np.testing.assert_array_equal(unit.encode(images), keras.ops.convert_to_numpy(tokens))
    codes = plain.quantizer.embed(tokens)
    pixels = keras.ops.convert_to_numpy(plain.decoder(codes)["images"])
    np.testing.assert_allclose(unit.decode(tokens), np.clip(pixels, 0, 1), atol=1e-5)
    assert 0.05 < np.clip(pixels, 0, 1).std()
    assert np.abs(keras.ops.convert_to_numpy(plain.features(images)) - features).max() > 1e-3


def test_tokens_of_the_two_are_not_taken_for_the_same():
    plain, unit = make(False), make(True)
    unit.set_weights(plain.get_weights())
    assert tokens_fingerprint(plain) != tokens_fingerprint(unit)
    for part in ("encoder", "decoder"):
        paths = [[weight.path for weight in getattr(one, part).weights] for one in (plain, unit)]
        assert paths[0] == paths[1]

"""Tokenizers of grey images and of RGB with opacity: all that works with three channels works."""

import keras
import numpy as np
import pytest

import keras_regvq
from keras_regvq.metrics import FrechetDistance, PerceptualDistance
from keras_regvq.models import (
    AutoregressivePrior,
    FeatureExtractor,
    ImageTokenizer,
    LabelMapCondition,
    PatchDiscriminator,
    SemanticToImage,
)
from keras_regvq.quantizers import VectorQuantizer
from keras_regvq.training import ReconstructionGrid, TokenizerTrainer

pytestmark = pytest.mark.eager


def make_tokenizer(**options):
    return ImageTokenizer(16, VectorQuantizer(12, 6), 8, (1, 2), 1, (), 8, **options)


def make_features():
    inputs = keras.Input((None, None, 3))
    outputs = keras.layers.Conv2D(4, 3, padding="same", name="low")(inputs)
    return FeatureExtractor(keras.Model(inputs, outputs), ["low"])


def pictures(channels, count=4):
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, channels), dtype="uint8")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_encode_decode_and_presets_keep_the_channels(channels, tmp_path):
    tokenizer, images = make_tokenizer(image_channels=channels), pictures(channels)
    assert tokenizer.reconstruct(images).shape == images.shape
    tokenizer.save_to_preset(tmp_path)
    loaded = keras_regvq.from_preset(str(tmp_path))
    assert loaded.image_channels == channels
    np.testing.assert_array_equal(loaded.encode(images), tokenizer.encode(images))
    for other in {1, 3, 4} - {channels}:
        with pytest.raises(ValueError, match=rf"`images`.*\(4, 16, 16, {other}\).*W, {channels}\)"):
            tokenizer.encode(pictures(other))


def test_three_channels_are_the_default_and_of_configs_that_do_not_say():
    config = make_tokenizer().get_config()
    assert config.pop("image_channels") == 3
    assert ImageTokenizer.from_config(config).image_channels == 3
    with pytest.raises(ValueError, match="`image_channels`.*Received: 2.*grey"):
        make_tokenizer(image_channels=2)


def test_other_channels_do_not_change_the_paths_of_weights():
    paths = [
        [variable.path for variable in make_tokenizer(image_channels=channels).variables]
        for channels in (1, 3)
    ]
    strip = [[path.split("/")[-1] for path in each] for each in paths]
    assert strip[0] == strip[1]


@pytest.mark.parametrize("channels", [1, 4])
def test_training_with_both_players_and_features(channels, tmp_path):
    trainer = TokenizerTrainer(
        make_tokenizer(image_channels=channels),
        PatchDiscriminator(4, 1, image_channels=channels),
        make_features(),
        discriminator_ramp=1,
    )
    trainer.compile(optimizer=keras.optimizers.Adam(1e-3))
    images = pictures(channels)
    before = np.array(trainer.tokenizer.get_weights()[0])
    callbacks = [ReconstructionGrid(images, tmp_path)]
    history = trainer.fit(images, batch_size=2, verbose=0, callbacks=callbacks).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert np.abs(trainer.tokenizer.get_weights()[0] - before).max() > 0
    with pytest.raises(ValueError, match=rf"`x`.*W, {channels}\)"):
        trainer.fit(pictures(3), verbose=0)


def test_a_discriminator_of_other_images_is_refused():
    with pytest.raises(ValueError, match="`discriminator`.*3 channels.*image_channels=1"):
        TokenizerTrainer(make_tokenizer(image_channels=1), PatchDiscriminator(4, 1))


def test_metrics_of_features_see_grey_three_times_and_no_opacity():
    grey, colour = pictures(1), pictures(4)
    distance = PerceptualDistance(make_features())
    for images, as_rgb in ((grey, np.repeat(grey, 3, axis=-1)), (colour, colour[..., :3])):
        results = []
        for pair in ((images, images[::-1]), (as_rgb, as_rgb[::-1])):
            distance.reset_state()
            distance.update_state(*pair)
            frechet = FrechetDistance(distance.feature_extractor)
            frechet.update_state(*pair)
            results.append((float(distance.result()), float(frechet.features("y_true").sum())))
        np.testing.assert_allclose(results[0], results[1], rtol=1e-6)


def test_a_generator_of_grey_pictures():
    tokenizer = make_tokenizer(image_channels=1)
    prior = AutoregressivePrior(12, tokenizer.token_grid, 1, 1, 8, LabelMapCondition(3, 16))
    model, labels = SemanticToImage(tokenizer, prior), np.zeros((4, 16, 16), "int32")
    model.compile()
    model.fit({"images": pictures(1), "labels": labels}, verbose=0)
    assert model.generate(labels[:2], seed=0).shape == (2, 16, 16, 1)
    with pytest.raises(ValueError, match="`images`"):
        model.fit({"images": pictures(3), "labels": labels}, verbose=0)

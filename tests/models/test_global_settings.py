"""Keras's global image format and float type are the user's: models are what they are without."""

import keras
import numpy as np
import pytest

import keras_regvq
from keras_regvq.models import (
    AutoregressivePrior,
    DiffusionPrior,
    FIDInception,
    ImageTokenizer,
    LabelMapCondition,
    LabelMapTokenizer,
    PatchDiscriminator,
    SemanticToImage,
    VGG19Features,
)
from keras_regvq.quantizers import RegularizedQuantizer, VectorQuantizer
from keras_regvq.training import TokenizerTrainer

pytestmark = [pytest.mark.eager, pytest.mark.one_backend]

SETTINGS = {
    "channels_first": lambda: keras.config.set_image_data_format("channels_first"),
    "float64": lambda: set_floatx("float64"),
    # Set after the first layer was made: the networks' own type is still float32.
    "float16": lambda: keras.config.set_floatx("float16"),
}


def set_floatx(dtype):
    keras.config.set_floatx(dtype)
    # What Keras does with a floatx that is set before its first layer is made.
    keras.config.set_dtype_policy(dtype)


@pytest.fixture
def restored():
    """What is set is set back afterwards."""
    image_format, floatx = keras.config.image_data_format(), keras.config.floatx()
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_image_data_format(image_format)
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


@pytest.fixture(params=SETTINGS)
def setting(request, restored):
    return request.param


def make_tokenizer():
    quantizer = RegularizedQuantizer(12, 6, seed=3)
    return ImageTokenizer(16, quantizer, 8, (1, 2), 1, (8,), 8)


def pictures(side=16, count=4):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype="uint8")


def test_a_preset_gives_the_tokens_that_it_gives_without(setting):
    images = keras_regvq.data.scenes(2, size=64, split="test")["images"]
    expected = keras_regvq.from_preset("regvq_scenes_64").encode(images)
    SETTINGS[setting]()
    tokens = keras_regvq.from_preset("regvq_scenes_64").encode(images)
    agreement = (tokens == expected).mean()
    # A position right between two codes may round to the other one in more precise arithmetic.
    assert agreement > 0.99 if setting == "float64" else agreement == 1


def test_a_network_in_float16_gives_nearly_the_tokens_that_it_gives_in_float32(restored):
    images = keras_regvq.data.scenes(2, size=64, split="test")["images"]
    expected = keras_regvq.from_preset("regvq_scenes_64").encode(images)
    set_floatx("float16")
    tokens = keras_regvq.from_preset("regvq_scenes_64").encode(images)
    assert (tokens == expected).mean() > 0.99  # the others are right between two codes


@pytest.mark.seldom
def test_a_tokenizer_is_built_and_trained(setting):
    SETTINGS[setting]()
    trainer = TokenizerTrainer(
        make_tokenizer(),
        PatchDiscriminator(4, 1),
        VGG19Features(None, ("block1_conv1",), seed=0),
        discriminator_ramp=1,
    )
    trainer.compile(optimizer=keras.optimizers.SGD(1e-3))
    history = trainer.fit(pictures(), batch_size=2, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values()), history
    assert trainer.tokenizer.reconstruct(pictures()).dtype == np.float32


def test_features_are_what_they_are_without(setting):
    expected = [_features(make) for make in _NETWORKS]
    SETTINGS[setting]()
    for before, make in zip(expected, _NETWORKS, strict=True):
        np.testing.assert_allclose(_features(make), before, rtol=1e-4, atol=1e-4)


_NETWORKS = (
    lambda: VGG19Features(None, ("block1_conv2",), seed=0),
    lambda: VGG19Features(None, ("block1_conv1",), seed=0, preprocessing="caffe"),
)


def _features(make):
    return keras.ops.convert_to_numpy(make()(pictures(count=1))[0]).astype("float64")


def test_fid_inception_is_built(setting):
    SETTINGS[setting]()
    assert tuple(FIDInception()(pictures(count=1)).shape) == (1, 2048)


@pytest.mark.seldom
def test_label_maps_and_priors_train_and_sample(setting):
    SETTINGS[setting]()
    labels = np.random.default_rng(0).integers(0, 3, (4, 16, 16))
    label_tokenizer = LabelMapTokenizer(3, 16, VectorQuantizer(8, 8), 8, (1, 2), 1, 8)
    label_tokenizer.compile("sgd")
    assert np.isfinite(label_tokenizer.fit(labels, verbose=0).history["loss"]).all()

    tokenizer = make_tokenizer()
    grid, sizes = tokenizer.token_grid, (8, (1, 2), 1, (1,), 1)
    for make in (
        lambda **options: AutoregressivePrior(12, grid, 1, 1, 8, **options),
        lambda **options: DiffusionPrior(12, grid, "discrete", *sizes, **options),
        lambda **options: DiffusionPrior(12, grid, "gaussian", *sizes, embedding_dim=6, **options),
    ):
        prior = make(condition=LabelMapCondition(3, 16), condition_dropout=0.5)
        model = SemanticToImage(tokenizer, prior)
        model.compile(keras.optimizers.SGD(1e-3))
        history = model.fit({"images": pictures(), "labels": labels}, verbose=0).history
        assert np.isfinite(history["loss"]).all()
        options = {} if isinstance(prior, AutoregressivePrior) else {"num_steps": 2}
        assert model.generate(labels[:1], seed=0, **options).shape == (1, 16, 16, 3)

import json

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_regvq
from keras_regvq import models
from tests.models.priors.tiny_diffusion import make_diffusion_prior
from tests.models.priors.tiny_prior import (
    CODES,
    GRID,
    IMAGE,
    make_image_tokenizer,
    make_prior,
    random_images,
    randomize,
)
from tests.models.text_encoders.tiny_bert import bert  # noqa: F401  a fixture

pytestmark = pytest.mark.eager

CAPTIONS = ["a red boat", "a blue car", "a red car at night"]
ONE_LEVEL = {"channel_multipliers": (1,), "attention_levels": ()}


def make_model(process="discrete", encoder=None, **options):
    tokenizer = randomize(make_image_tokenizer())
    encoder = encoder or models.VocabularyEncoder.from_captions(CAPTIONS)
    if process == "gaussian":
        prior = models.DiffusionPrior(
            CODES,
            GRID,
            "gaussian",
            channels=8,
            num_res_blocks=1,
            num_heads=2,
            condition=encoder.condition(),
            embedding_dim=8,
            seed=0,
            **ONE_LEVEL,
        )
        randomize(prior)
    else:
        options.setdefault("condition_dropout", 0.1)
        prior = make_diffusion_prior(process, encoder.condition(), **ONE_LEVEL | options)
    return models.TextToImage(tokenizer, prior, encoder)


@pytest.fixture(scope="module")
def model():
    return make_model()


def test_prompts_become_images(model):
    pictures = model.generate(CAPTIONS, num_steps=3, guidance_scale=2.0, seed=0)
    assert pictures.shape == (3, *IMAGE, 3) and pictures.dtype == np.float32
    assert 0 <= pictures.min() and pictures.max() <= 1
    again = model.generate(CAPTIONS, num_steps=3, guidance_scale=2.0, seed=0)
    np.testing.assert_array_equal(again, pictures)
    other = model.generate(CAPTIONS[::-1], num_steps=3, guidance_scale=2.0, seed=0)
    assert (other != pictures).any()
    one = model.generate("a red boat", num_steps=3, guidance_scale=2.0, seed=0)
    assert one.shape == (1, *IMAGE, 3)


def test_the_sampler_goes_by_two_names_and_reaches_the_prior(model):
    options = {"num_steps": 3, "seed": 0}
    by_name = model.generate(CAPTIONS, sampler="confidence", **options)
    np.testing.assert_array_equal(model.generate(CAPTIONS, method="confidence", **options), by_name)
    words = model.text_encoder.encode(CAPTIONS)
    tokens = model.prior.generate(words, sampler="confidence", **options)
    np.testing.assert_array_equal(model.tokenizer.decode(tokens), by_name)
    with pytest.raises(ValueError, match="`sampler`.*'ancestral', 'confidence'"):
        model.generate(CAPTIONS, sampler="ddim", **options)
    with pytest.raises(ValueError, match="`guidance_schedule`.*DiffusionPrior"):
        model.generate(CAPTIONS, guidance_schedule="linear", **options)


def test_negative_prompts_are_one_for_all_or_one_each(model):
    options = {"num_steps": 3, "guidance_scale": 3.0, "seed": 0}
    all_same = model.generate(CAPTIONS, "a blue boat", **options)
    each = model.generate(CAPTIONS, ["a blue boat"] * 3, **options)
    np.testing.assert_array_equal(all_same, each)
    assert (all_same != model.generate(CAPTIONS, **options)).any()
    with pytest.raises(ValueError, match="negative_condition"):
        model.generate(CAPTIONS, ["a boat"] * 2, **options)


@pytest.mark.parametrize(
    "prompts, named",
    [
        ([], "an empty list"),
        ([3], "at position 0"),
        (None, "a list of strings"),
        (np.ones((2, 8)), "strings"),
    ],
)
def test_wrong_prompts_are_named(model, prompts, named):
    with pytest.raises(ValueError, match=named):
        model.generate(prompts, num_steps=3)


def test_odd_prompts_are_sampled_with_a_warning(model):
    with pytest.warns(UserWarning, match="'zebra'"):
        model.generate(["a zebra"], num_steps=3, seed=0)
    with pytest.warns(UserWarning, match="longer than 5 words"):
        model.generate(["a red boat a red boat"], num_steps=3, seed=0)
    assert model.generate([""], num_steps=3, seed=0).shape == (1, *IMAGE, 3)


def test_regenerating_a_part_keeps_all_tokens_outside_of_the_mask(model):
    images, mask = random_images(), np.zeros((3, *IMAGE), bool)
    mask[:, :8, :8] = True
    generated = model.generate(CAPTIONS, images=images, mask=mask, num_steps=3, seed=0)
    tokens = model.tokenizer.encode(images)
    drawn = model.prior.generate(
        model.text_encoder.encode(CAPTIONS),
        num_steps=3,
        seed=0,
        tokens=tokens,
        mask=mask[:, ::4, ::4],
    )
    np.testing.assert_array_equal(drawn[:, 2:, 2:], tokens[:, 2:, 2:])
    np.testing.assert_array_equal(generated, model.tokenizer.decode(drawn))
    with pytest.raises(ValueError, match="mask"):
        model.generate(CAPTIONS, images=images, num_steps=3)


def test_fit_takes_arrays_and_datasets_of_strings():
    model = make_model("gaussian")
    before = [np.array(v) for v in model.tokenizer.trainable_variables + model.tokenizer.weights]
    model.compile(keras.optimizers.Adam(1e-3))
    images, captions = random_images(4), np.array([*CAPTIONS, "a car"])
    arrays = {"images": images, "captions": captions}
    history = model.fit(arrays, batch_size=2, validation_data=arrays, verbose=0).history
    expected = {"loss", *model.prior.process.logged}
    assert set(history) == expected | {f"val_{name}" for name in expected}
    assert np.isfinite(history["loss"]).all()
    data = keras_regvq.data.from_arrays(images, captions=captions, batch_size=2)
    model.fit(data, verbose=0)
    assert set(model.evaluate(data, verbose=0, return_dict=True)) == expected
    after = [np.array(v) for v in model.tokenizer.trainable_variables + model.tokenizer.weights]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_captions_that_are_no_utf_8_are_named_in_data_of_every_kind():
    model = make_model()
    model.compile(keras.optimizers.SGD(0.0))
    batch = {"images": random_images(2), "captions": np.array([b"a boat", b"caf\xe9"])}
    for data in (batch, iter([batch]), tf.data.Dataset.from_tensors(batch)):
        with pytest.raises(ValueError, match="caf.*at position 1.*UTF-8"):
            model.fit(data, verbose=0)
    with pytest.raises(ValueError, match="at position 0.*UTF-8"):
        model.generate([b"caf\xe9"])


def test_tokens_are_made_once_and_train_like_images(tmp_path):
    model = make_model()
    images, captions = random_images(4), [*CAPTIONS, "a car"]
    data = keras_regvq.data.from_arrays(
        images, captions=captions, batch_size=2, shuffle=False, drop_remainder=False
    )
    arrays = model.tokenize(data, tmp_path / "cache", verbose=False)
    np.testing.assert_array_equal(arrays["tokens"], model.tokenizer.encode(images))
    assert [text.decode() for text in arrays["captions"]] == captions
    again = model.tokenize(data, tmp_path / "cache", verbose=False)
    np.testing.assert_array_equal(again["captions"], arrays["captions"])
    model.compile()
    model.fit(arrays, batch_size=2, verbose=0)
    at_once = model.tokenize({"images": images, "captions": np.array(captions)}, verbose=False)
    np.testing.assert_array_equal(at_once["tokens"], arrays["tokens"])
    with pytest.raises(ValueError, match="`dataset`.*'images': 4, 'captions': 3"):
        model.tokenize({"images": images, "captions": np.array(captions[:3])}, verbose=False)
    with pytest.raises(ValueError, match='`dataset`.*the key "images"'):
        model.tokenize([arrays], verbose=False)


def test_a_preset_generates_the_same_images(tmp_path, model):
    model.save_to_preset(tmp_path / "preset")
    loaded = keras_regvq.from_preset(tmp_path / "preset")
    assert type(loaded) is models.TextToImage
    options = {"num_steps": 3, "guidance_scale": 2.0, "seed": 0}
    expected = model.generate(CAPTIONS, **options)
    np.testing.assert_array_equal(loaded.generate(CAPTIONS, **options), expected)


@pytest.mark.seldom
def test_a_preset_carries_its_language_model(tmp_path, bert):  # noqa: F811
    encoder = models.PretrainedTextEncoder(bert[0], max_length=8)
    model = make_model(encoder=encoder)
    expected = model.generate(CAPTIONS, num_steps=3, seed=0)
    model.save_to_preset(tmp_path / "preset")
    assert (tmp_path / "preset" / "text_encoder" / "model.weights.h5").is_file()
    assert encoder.preset == str(bert[0])  # the encoder itself is as it was
    (tmp_path / "preset").rename(tmp_path / "moved")
    loaded = keras_regvq.from_preset(tmp_path / "moved")
    np.testing.assert_array_equal(loaded.generate(CAPTIONS, num_steps=3, seed=0), expected)
    assert str(tmp_path) not in (tmp_path / "moved" / "config.json").read_text()
    model.compile()
    data = keras_regvq.data.from_arrays(random_images(3), captions=CAPTIONS, batch_size=3)
    assert np.isfinite(model.fit(data, verbose=0).history["loss"]).all()
    loaded.save_to_preset(tmp_path / "moved")  # over itself
    again = keras_regvq.from_preset(tmp_path / "moved")
    np.testing.assert_array_equal(again.generate(CAPTIONS, num_steps=3, seed=0), expected)
    make_model().save_to_preset(tmp_path / "moved")
    assert not (tmp_path / "moved" / "text_encoder").exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.weights.h5"])
def test_a_language_model_inside_a_preset_is_checked_too(tmp_path, bert, file):  # noqa: F811
    model = make_model(encoder=models.PretrainedTextEncoder(bert[0], max_length=8))
    model.save_to_preset(tmp_path)
    path = tmp_path / "text_encoder" / file
    if file.endswith(".h5"):
        with h5py.File(path, "r+") as weights:
            weights["v"] = h5py.ExternalLink("/etc/passwd", "/")
    else:
        config = json.loads(path.read_text())
        if file == "tokenizer.json":
            config["config"]["vocabulary"] = "/etc/passwd"
        else:
            config["config"]["dtype"] = {
                "module": "keras", "class_name": "layers.Lambda", "config": {}
            }  # fmt: skip
        path.write_text(json.dumps(config))
    loaded = keras_regvq.from_preset(tmp_path)
    with pytest.raises(ValueError, match=f"`preset`.*text_encoder/{file}"):
        loaded.generate(CAPTIONS, num_steps=3, seed=0)


@pytest.mark.seldom
def test_an_autoregressive_prior_generates_from_captions_too():
    encoder = models.VocabularyEncoder.from_captions(CAPTIONS)
    prior = make_prior(encoder.condition(num_heads=2))
    model = models.TextToImage(randomize(make_image_tokenizer()), prior, encoder)
    model.compile()
    history = model.fit({"images": random_images(3), "captions": CAPTIONS}, verbose=0).history
    assert np.isfinite(history["bits_per_token"]).all()
    assert model.generate(CAPTIONS, seed=0).shape == (3, *IMAGE, 3)
    with pytest.raises(ValueError, match="`negative_prompts`.*AutoregressivePrior"):
        model.generate(CAPTIONS, "at night")


def test_parts_that_do_not_fit_are_named():
    encoder = models.VocabularyEncoder.from_captions(CAPTIONS)
    tokenizer = make_image_tokenizer()
    with pytest.raises(ValueError, match="text_encoder"):
        models.TextToImage(tokenizer, make_diffusion_prior(), "bert")
    with pytest.raises(ValueError, match="condition of length"):
        models.TextToImage(tokenizer, make_diffusion_prior(), encoder)
    other = models.VocabularyEncoder(["a", "b"], encoder.max_length)
    with pytest.raises(ValueError, match="vocabulary of 5"):
        models.TextToImage(tokenizer, make_diffusion_prior(condition=other.condition()), encoder)
    prior = make_diffusion_prior(condition=encoder.condition())
    with pytest.raises(ValueError, match="codes 11"):
        models.TextToImage(make_image_tokenizer(codes=7), prior, encoder)
    model = models.TextToImage(tokenizer, prior, encoder)
    model.compile()
    with pytest.raises(ValueError, match="captions"):
        model.fit({"images": random_images()}, verbose=0)
    with pytest.raises(ValueError, match="16, 24"):
        model.fit({"images": random_images()[:, :8], "captions": CAPTIONS}, verbose=0)

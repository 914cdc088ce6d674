import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_regvq
from keras_regvq import models
from tests.models.priors.tiny_prior import (
    CLASSES,
    CODES,
    GRID,
    IMAGE,
    make_image_tokenizer,
    make_map_prior,
    make_prior,
    random_images,
    random_maps,
    randomize,
)

pytestmark = pytest.mark.eager


def make_model(**options):
    tokenizer = randomize(make_image_tokenizer())
    return models.SemanticToImage(tokenizer, make_map_prior(**options))


@pytest.fixture(scope="module")
def model():
    model = make_model()
    model.compile(keras.optimizers.SGD(0.0))
    return model


def test_the_tokenizer_tells_images_apart(model):
    assert len(np.unique(model.tokenizer.encode(random_images()))) > 3


def test_images_and_their_tokens_give_the_same_loss(model):
    images, maps = random_images(4), random_maps(4)
    tokens = model.tokenizer.encode(images)
    model.prior.compile(keras.optimizers.SGD(0.0))
    options = {"batch_size": 2, "verbose": 0, "return_dict": True}
    expected = model.prior.evaluate({"tokens": tokens, "condition": maps}, **options)
    for inputs in ({"images": images}, {"tokens": tokens}):
        results = model.evaluate({**inputs, "labels": maps}, **options)
        assert results == pytest.approx(expected, rel=1e-5)
    assert set(results) == {"loss", "bits_per_token"}


def test_fit_trains_the_prior_and_leaves_the_tokenizer_alone():
    model = make_model()
    model.compile(keras.optimizers.Adam(1e-2))
    frozen = [keras.ops.convert_to_numpy(v).copy() for v in model.tokenizer.variables]
    data = {"images": random_images(8), "labels": random_maps(8)}
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(4)
    history = model.fit(dataset, epochs=6, verbose=0, validation_data=dataset).history
    assert history["bits_per_token"][-1] < history["bits_per_token"][0] - 0.5
    assert history["val_bits_per_token"][-1] < history["val_bits_per_token"][0]
    for variable, value in zip(model.tokenizer.variables, frozen, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


@pytest.mark.one_backend
def test_tokenize_makes_tokens_once_for_fit(model, tmp_path):
    data = {"images": random_images(5), "labels": random_maps(5)}
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(2)
    cached = model.tokenize(dataset, tmp_path / "tokens", verbose=False)
    np.testing.assert_array_equal(cached["tokens"], model.tokenizer.encode(data["images"]))
    np.testing.assert_array_equal(cached["labels"], data["labels"])
    again = model.tokenize(None, tmp_path / "tokens", verbose=False)
    np.testing.assert_array_equal(again["tokens"], cached["tokens"])
    assert np.isfinite(model.fit(cached, batch_size=5, verbose=0).history["loss"]).all()
    other = make_model()
    other.tokenizer.trainable = True
    randomize(other.tokenizer, seed=5)
    with pytest.raises(ValueError, match="another tokenizer"):
        other.tokenize(dataset, tmp_path / "tokens", verbose=False)


def test_generate_decodes_what_the_prior_draws(model):
    maps = random_maps()
    images = model.generate(maps, seed=4, top_p=0.9)
    assert images.shape == (3, *IMAGE, 3) and images.dtype == np.float32
    tokens = model.prior.generate(maps, seed=4, top_p=0.9)
    np.testing.assert_array_equal(images, model.tokenizer.decode(tokens))
    np.testing.assert_array_equal(model.generate(maps, seed=4, top_p=0.9), images)


def test_regenerating_a_part_changes_only_the_patches_that_the_mask_touches(model, monkeypatch):
    images, maps = random_images(), random_maps()
    mask = np.zeros((3, *IMAGE), bool)
    mask[:, 5, 9:13] = True  # of row 1 of the grid, columns 2 and 3
    drawn = []
    decode = model.tokenizer.decode
    monkeypatch.setattr(model.tokenizer, "decode", lambda t, *size: drawn.append(t) or decode(t))
    model.generate(maps, images=images, mask=mask, seed=2)
    same = drawn[0] == model.tokenizer.encode(images)
    touched = np.zeros((3, *GRID), bool)
    touched[:, 1, 2:4] = True
    assert same[~touched].all() and not same[touched].all()


def test_every_sampling_argument_reaches_the_prior(model, monkeypatch):
    seen, generate = {}, model.prior.generate

    def watched(*args, batch_size=32, temperature=1.0, top_k=None, top_p=None, guidance_scale=1.0,
                guidance_schedule="constant", seed=None, verbose="auto", **parts):  # fmt: skip
        seen.update(locals())
        return generate(*args, seed=0, **parts)

    decode, sizes = model.tokenizer.decode, []
    monkeypatch.setattr(model.prior, "generate", watched)
    monkeypatch.setattr(
        model.tokenizer, "decode", lambda t, size=32: sizes.append(size) or decode(t, size)
    )
    given = {
        "temperature": 0.5,
        "top_k": 3,
        "top_p": 0.9,
        "guidance_scale": 2.0,
        "guidance_schedule": "linear",
        "seed": 5,
        "batch_size": 2,
        "verbose": 0,
    }
    model.generate(random_maps(), **given)
    assert {name: seen[name] for name in given} == given and sizes == [2]


@pytest.mark.parametrize("name", ["num_steps", "sampler", "method", "eta", "negative_condition"])
def test_an_argument_of_another_prior_is_refused_by_name(model, name):
    with pytest.raises(ValueError, match=f"`{name}`.*AutoregressivePrior"):
        model.generate(random_maps(), **{name: 1})


def test_paint_is_an_earlier_name_of_generate_images(model):
    expected = model.generate_images(random_maps(), seed=4)
    np.testing.assert_array_equal(model.paint(random_maps(), None, None, seed=4), expected)


@pytest.mark.one_backend
def test_a_preset_generates_the_same_images(model, tmp_path):
    maps = random_maps()
    model.save_to_preset(str(tmp_path / "generator"))
    loaded = keras_regvq.from_preset(str(tmp_path / "generator"))
    assert type(loaded) is models.SemanticToImage
    np.testing.assert_allclose(
        loaded.generate(maps, seed=1), model.generate(maps, seed=1), atol=1e-5
    )
    with pytest.raises(ValueError, match="a preset of ImageTokenizer"):
        models.ImageTokenizer.from_preset(str(tmp_path / "generator"))


@pytest.mark.one_backend
def test_a_preset_of_a_trained_model_holds_no_optimizer(tmp_path):
    model = make_model()
    model.compile()
    model.fit({"images": random_images(), "labels": random_maps()}, verbose=0)
    model.save_to_preset(tmp_path / "generator")
    with h5py.File(tmp_path / "generator" / "model.weights.h5") as file:
        assert "optimizer" not in file
        sizes = []
        file.visititems(lambda name, item: sizes.append(getattr(item, "size", 0)))
    # The few besides: random states.
    assert model.count_params() <= sum(sizes) < model.count_params() + 20


def test_parts_that_do_not_fit_are_named():
    tokenizer = make_image_tokenizer()
    with pytest.raises(ValueError, match=f"codes {CODES}.*12"):
        models.SemanticToImage(make_image_tokenizer(codes=12), make_map_prior())
    with pytest.raises(ValueError, match="grid"):
        models.SemanticToImage(make_image_tokenizer(image_size=(16, 16)), make_map_prior())
    with pytest.raises(ValueError, match="condition of shape None"):
        models.SemanticToImage(tokenizer, make_prior())
    with pytest.raises(ValueError, match="condition of shape"):
        models.SemanticToImage(tokenizer, make_prior(models.LabelMapCondition(5, (32, 48))))
    with pytest.raises(ValueError, match="tokenizer"):
        models.SemanticToImage("vqgan", make_map_prior())
    with pytest.raises(ValueError, match="prior"):
        models.SemanticToImage(tokenizer, tokenizer)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "data, named",
    [
        ({"images": random_images()}, "labels"),
        ({"labels": random_maps()}, "tokens"),
        ({"images": random_images(), "labels": random_maps() + CLASSES}, "labels from"),
        ({"images": random_images(), "labels": random_maps() * 1.0}, "labels"),
        ({"images": random_images() * 255, "labels": random_maps()}, "float values"),
        ({"images": random_images()[:, :8], "labels": random_maps()}, r"\(8, 24\) pixels"),
        ({"tokens": random_maps()[:, ::4, ::4] + CODES, "labels": random_maps()}, "tokens"),
    ],
)
def test_wrong_training_data_are_named(model, data, named):
    with pytest.raises(ValueError, match=named):
        model.fit(data, verbose=0)
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(3)
    with pytest.raises(ValueError, match=named):
        model.fit(dataset, verbose=0)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "arguments, named",
    [
        ({"label_maps": random_maps() + CLASSES}, "labels from 5"),
        ({"label_maps": random_maps()[:, :8]}, r"\(8, 24\) pixels"),
        ({"label_maps": random_maps().astype("float32")}, "float32"),
        ({"label_maps": random_maps(), "images": random_images()}, "mask"),
        (
            {"label_maps": random_maps(), "images": random_images(), "mask": np.ones((3, 2, 2))},
            "mask",
        ),
    ],
)
def test_wrong_maps_and_masks_are_named(model, arguments, named):
    with pytest.raises(ValueError, match=named):
        model.generate(**arguments)

"""The presets that come with weights do on each backend what their results say."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_regvq
from keras_regvq import models
from keras_regvq.presets import BUILTIN_DIRECTORY

pytestmark = pytest.mark.eager


@pytest.fixture(scope="module")
def scenes():
    return keras_regvq.data.scenes(32, size=64, split="test")


@pytest.fixture(scope="module")
def model():
    return keras_regvq.from_preset("semantic_scenes_64")


def test_the_tokenizer_reconstructs_held_out_scenes(scenes):
    tokenizer = keras_regvq.from_preset("regvq_scenes_64")
    tokens = tokenizer.encode(scenes["images"])
    assert tokens.shape == (32, 16, 16) and tokenizer.codebook_size == 512
    difference = tokenizer.decode(tokens) - scenes["images"] / np.float32(255)
    psnr = -10 * np.log10(np.square(difference).mean(axis=(1, 2, 3))).mean()
    assert psnr > 27.5
    assert len(np.unique(tokens)) > 400


@pytest.mark.one_backend
def test_the_generator_predicts_held_out_scenes(model, scenes):
    assert isinstance(model, models.SemanticToImage)
    model.compile()
    data = {"images": scenes["images"], "labels": scenes["labels"]}
    bits = model.evaluate(data, batch_size=16, verbose=0, return_dict=True)["bits_per_token"]
    assert bits == pytest.approx(3.836, abs=0.02)


@pytest.mark.one_backend
def test_the_generator_follows_the_map(model, scenes):
    maps = scenes["labels"][:8]
    generated = model.generate(maps, seed=0)
    assert generated.shape == (8, 64, 64, 3)
    real = scenes["images"][:8] / np.float32(255)
    # Colours differ, but edges lie where the map has them: brightness steps at label borders.
    borders = (maps[:, 1:] != maps[:, :-1])[:, :, :-1]
    for images in (real, generated):
        steps = np.abs(np.diff(images.mean(-1), axis=1))[:, :, :-1]
        assert steps[borders].mean() > 2 * steps[~borders].mean()


@pytest.mark.seldom
@pytest.mark.one_backend
def test_the_generator_from_words_predicts_tokens_that_it_does_not_see(scenes):
    model = keras_regvq.from_preset("text_scenes_64")
    assert isinstance(model, models.TextToImage)
    clean = model.tokenizer.encode(scenes["images"]).reshape(32, -1)
    words = model.text_encoder.encode(scenes["captions"])
    # The fewer tokens are seen, the more the captions of other pictures cost.
    for share, expected, margin in ((0.5, 3.263, 0.2), (0.9, 4.970, 2.5)):
        masked = np.random.default_rng(0).random(clean.shape) < share
        tokens = np.where(masked, model.tokenizer.codebook_size, clean)
        bits = []
        for captions in (words, np.roll(words, 7, axis=0)):
            embedded = model.prior.embed_condition(ops.convert_to_tensor(captions))
            logits = model.prior.denoise(
                ops.convert_to_tensor(tokens, "int32"), ops.full((32,), share), *embedded
            )
            chances = ops.convert_to_numpy(ops.log_softmax(logits)).astype("float64")
            found = np.take_along_axis(chances, clean[..., None], axis=-1)[..., 0]
            bits.append(-found[masked].mean() / np.log(2))
        assert bits[0] == pytest.approx(expected, abs=0.02)
        assert bits[1] > bits[0] + margin


@pytest.mark.one_backend
def test_the_generator_from_words_knows_whose_colour_is_whose():
    model = keras_regvq.from_preset("text_scenes_64")
    kept, exchanged, images = [], [], []
    for seed in range(200):
        scene = keras_regvq.data.scene(seed, 64, "test")
        things = scene.attributes["objects"]
        colours = {thing["colour"] for thing in things}
        kinds = {thing["kind"] for thing in things}
        if scene.attributes["unseen"] or not len(things) == len(colours) == len(kinds) == 2:
            continue
        other = dict(zip(colours, reversed(list(colours)), strict=True))
        kept.append(scene.caption)
        exchanged.append(" ".join(other.get(word, word) for word in scene.caption.split()))
        images.append(scene.image)
    clean = model.tokenizer.encode(np.stack(images)).reshape(len(images), -1)
    masked = np.random.default_rng(0).random(clean.shape) < 0.9
    tokens = ops.convert_to_tensor(np.where(masked, model.tokenizer.codebook_size, clean), "int32")
    costs = []
    for captions in (kept, exchanged):
        embedded = model.prior.embed_condition(model.text_encoder.encode(captions))
        logits = model.prior.denoise(tokens, ops.full((len(clean),), 0.9), *embedded)
        chances = ops.convert_to_numpy(ops.log_softmax(logits))
        found = np.take_along_axis(chances, clean[..., None], axis=-1)[..., 0]
        costs.append(-np.sum(found * masked, axis=1))  # nats a picture
    gain = costs[1] - costs[0]
    assert len(gain) > 20 and gain.mean() > 10 and np.mean(gain > 0) > 0.7


@pytest.mark.one_backend
def test_the_generator_from_words_tells_day_from_night():
    model = keras_regvq.from_preset("text_scenes_64")
    prompts = ["a meadow of grass at night", "a meadow of grass during the day"]
    night, day = model.generate(prompts * 3, num_steps=10, seed=0).reshape(3, 2, -1).mean((0, 2))
    assert night < 0.7 * day


@pytest.mark.one_backend
def test_a_dtype_is_given_to_every_part():
    model = keras_regvq.from_preset("text_scenes_64", load_weights=False, dtype="mixed_bfloat16")
    prior, tokenizer = model.prior, model.tokenizer
    for part in (model, prior.unet, prior.condition, tokenizer.encoder.get_layer("conv_in")):
        assert part.dtype_policy.name == "mixed_bfloat16"
    assert prior.process.head.compute_dtype == tokenizer.quantizer.compute_dtype == "float32"


def test_they_are_small(model):
    for name in ("regvq_scenes_64", "semantic_scenes_64", "text_scenes_64"):
        size = sum(path.stat().st_size for path in (BUILTIN_DIRECTORY / name).iterdir())
        assert size < 25e6
    assert {keras.backend.standardize_dtype(v.dtype) for v in model.trainable_variables} == {
        "float32"
    }

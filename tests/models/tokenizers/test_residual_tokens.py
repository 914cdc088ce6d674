"""Tokens (B, h, w, q): what a tokenizer with a residual quantizer gives goes wherever tokens go."""

import keras
import numpy as np
import pytest

import keras_regvq
from keras_regvq import models, quantizers, training
from keras_regvq.models.tokenizers.fingerprint import tokens_fingerprint
from keras_regvq.pictures import code_counts, codebook_picture
from keras_regvq.tokenizing import tokenize
from tests.models.priors.tiny_prior import random_maps, randomize
from tests.training.conftest import make_tokenizer, make_trainer

pytestmark = [pytest.mark.eager, pytest.mark.one_backend]

CODES, STAGES = 12, 3


def make(shared=True, **options):
    stage = quantizers.VectorQuantizer(CODES, 6)
    return quantizers.ResidualQuantizer(stage, STAGES, shared, **options)


@pytest.fixture
def images(rng):
    return rng.random((4, 16, 16, 3), dtype="float32")


@pytest.fixture
def tokenizer():
    return randomize(make_tokenizer(make()))


def test_encode_and_decode_have_a_depth(tokenizer, images):
    assert tokenizer.tokens_per_position == STAGES and tokenizer.token_grid == (8, 8, STAGES)
    assert make_tokenizer().tokens_per_position == 1 and make_tokenizer().token_grid == (8, 8)
    tokens = tokenizer.encode(images)
    assert tokens.shape == (4, 8, 8, STAGES) and tokens.dtype == "int32"
    outputs = tokenizer(images)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(outputs["tokens"]), tokens)
    decoded = keras.ops.convert_to_numpy(outputs["images"])
    np.testing.assert_allclose(tokenizer.decode(tokens), decoded, atol=1e-5)
    codes = keras.ops.convert_to_numpy(tokenizer.quantizer.codes())
    for count in (1, 2):  # the first stages' codes alone
        features = sum(codes[stage][tokens[..., stage]] for stage in range(count))
        image = keras.ops.convert_to_numpy(tokenizer.decoder(features)["images"])
        expected = np.clip((image + 1) / 2, 0, 1)
        np.testing.assert_allclose(tokenizer.decode(tokens[..., :count]), expected, atol=1e-5)


def test_decode_says_which_tokens_it_takes(tokenizer):
    for tokens, message in (
        (np.zeros((1, 8, 8), int), r"shape \(1, 8, 8\).*\(B, h, w, 3\) in \[0, 11\]"),
        (np.zeros((1, 8, 8, 4), int), r"shape \(1, 8, 8, 4\).*\(B, h, w, 3\), or fewer stages"),
        (np.full((1, 8, 8, 3), 12), r"tokens from 12 to 12.*\[0, 11\]"),
    ):
        with pytest.raises(ValueError, match=f"(?s)`tokens`.*{message}"):
            tokenizer.decode(tokens)
    with pytest.raises(ValueError, match=r"(?s)`tokens`.*\(1, 8, 8, 3\).*\(B, h, w\) in"):
        make_tokenizer().decode(np.zeros((1, 8, 8, 3), int))


@pytest.mark.parametrize("shared", [True, False])
def test_usage_is_of_all_codes_of_all_codebooks(shared, images):
    trainer = make_trainer(make(shared), discriminator=False, features=False)
    randomize(trainer.tokenizer)
    trainer.compile(keras.optimizers.SGD(0.0))
    logs = trainer.evaluate(images, batch_size=2, verbose=0, return_dict=True)
    tokens = trainer.tokenizer.encode(images)
    books = [tokens] if shared else [tokens[..., stage] for stage in range(STAGES)]
    counts = [np.bincount(book.ravel(), minlength=CODES) for book in books]
    np.testing.assert_array_equal(code_counts(trainer.tokenizer, tokens), np.concatenate(counts))
    assert logs["codebook_usage"] == pytest.approx(np.mean([c > 0 for c in counts]))
    shares = [c[c > 0] / c.sum() for c in counts]
    entropies = [-(p * np.log(p)).sum() for p in shares]
    assert logs["codebook_perplexity"] == pytest.approx(np.exp(np.mean(entropies)), rel=1e-4)
    assert {"codebook", "commitment"} <= set(logs)
    assert codebook_picture(trainer.tokenizer).size[0] > 0


def test_stages_that_sample_train_and_are_annealed(images, tmp_path):
    stage = quantizers.RegularizedQuantizer(CODES, 6, seed=3)
    trainer = make_trainer(quantizers.ResidualQuantizer(stage, 2, False))
    trainer.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
    annealing = training.TemperatureSchedule(lambda step: 0.5)
    logs = trainer.fit(images, batch_size=2, verbose=0, callbacks=[annealing]).history
    assert np.isfinite(list(logs.values())).all() and logs["contrastive"][0] != 0
    stages = trainer.tokenizer.quantizer.stages
    assert [float(one.temperature.numpy()) for one in stages] == [0.5, 0.5]
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    first, second = (one.tokenizer.encode(images) for one in (trainer, loaded))
    np.testing.assert_array_equal(first, second)


def test_label_maps_have_tokens_of_several_stages_too():
    sizes = {"base_channels": 8, "latent_channels": 8}
    tokenizer = randomize(models.LabelMapTokenizer(5, (16, 24), make(), **sizes))
    maps = random_maps()
    tokens = tokenizer.encode(maps)
    assert tokens.shape == (3, *tokenizer.token_grid) == (3, 4, 6, STAGES)
    assert tokenizer.decode(tokens).shape == tokenizer.decode(tokens[..., :1]).shape == maps.shape
    for condition in (
        models.TokenizedMapCondition(tokenizer),
        models.TokenCondition(CODES, tokenizer),
    ):
        prior = models.AutoregressivePrior(7, (2, 3), 1, 2, 16, condition)
        assert condition.prefix_length in (71, 72)  # one of them leaves the start to the prior
        assert prior.generate(maps, seed=0).shape == (3, 2, 3)


def test_a_fingerprint_tells_numbers_of_stages_and_scales_apart():
    made = [make_tokenizer(one) for one in (make(), make(), make(scale=0.5))]
    stage = quantizers.VectorQuantizer(CODES, 6)
    made.append(make_tokenizer(quantizers.ResidualQuantizer(stage, 2)))
    for one in made[1:]:
        one.set_weights(made[0].get_weights())
    texts = [tokens_fingerprint(one) for one in made]
    assert texts[0] == texts[1] and len(set(texts)) == 3


def test_a_model_card_counts_all_stages(tokenizer, tmp_path):
    make_tokenizer(make(shared=False)).save_to_preset(tmp_path / "own")
    tokenizer.save_to_preset(tmp_path / "shared")
    shared, own = ((tmp_path / name / "README.md").read_text() for name in ("shared", "own"))
    bits = 8 * 8 * STAGES * np.log2(CODES)
    assert f"8 x 8 x 3, {int(np.ceil(bits / 8))} bytes" in shared and "(1, 8, 8, 3)" in shared
    assert "12 codes of width 6" in shared and "3 of 12 codes of width 6 each" in own


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_shards_keep_the_depth(format, tmp_path):
    tokenizer = randomize(make_tokenizer(make()))
    tokenizer.save_to_preset(tmp_path / "preset")
    options = {"fields": ("images",), "num_examples": 3, "format": format, "verbose": False}
    tokenize("scenes", str(tmp_path / "preset"), tmp_path / "tokens", **options)
    data = keras_regvq.data.load(
        f"tokens:{tmp_path / 'tokens'}", batch_size=3, fields=("images",), shuffle=False
    )
    (batch,) = data
    images = keras_regvq.data.scenes(3, size=16)["images"]
    np.testing.assert_array_equal(batch["tokens"].numpy(), tokenizer.encode(images))


def test_formats_of_one_token_a_position_refuse_it(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="(?s)ResidualQuantizer.*VectorQuantizer"):
        keras_regvq.presets.export(tokenizer, tmp_path / "taming", format="taming")

"""Priors over (B, h, w, q): one sequence of all tokens, which the tokenizer decodes again."""

import keras
import numpy as np
import pytest

import keras_regvq
from keras_regvq import models, quantizers
from tests.models.priors.tiny_diffusion import make_diffusion_prior
from tests.models.priors.tiny_prior import (
    CLASSES,
    CODES,
    IMAGE,
    logits_of,
    make_prior,
    random_images,
    random_maps,
    randomize,
)

pytestmark = pytest.mark.eager

GRID = (4, 6, 2)
SHAPE = (3, *GRID)


def make(kind, condition=None, **options):
    if kind == "diffusion":
        prior = models.DiffusionPrior(
            *(CODES, GRID, "discrete", 8, (1, 2), 1, (1,), 2),
            condition=condition, num_timesteps=6, seed=0, **options,
        )  # fmt: skip
        return randomize(prior)
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "seed": 0}
    return randomize(
        models.AutoregressivePrior(CODES, GRID, condition=condition, **sizes | options)
    )


def steps(kind):
    return {"num_steps": 3} if kind == "diffusion" else {}


def make_tokenizer():
    quantizer = quantizers.ResidualQuantizer(quantizers.VectorQuantizer(CODES, 8), 2)
    return randomize(
        models.ImageTokenizer(
            IMAGE,
            quantizer,
            base_channels=8,
            channel_multipliers=(1, 2, 2),
            num_res_blocks=1,
            attention_resolutions=(),
            latent_channels=8,
        )
    )


@pytest.fixture
def tokens():
    return np.random.default_rng(1).integers(0, CODES, SHAPE)


each_kind = pytest.mark.parametrize("kind", ["autoregressive", "diffusion"])


def test_a_token_is_predicted_from_all_before_it_in_raster_order(tokens):
    prior = make("autoregressive")
    before = logits_of(prior, tokens)
    assert before.shape == (3, 48, CODES)
    changed = tokens.copy()
    changed[:, 1, 2, 0] = (changed[:, 1, 2, 0] + 1) % CODES
    place = (1 * 6 + 2) * 2  # of the first token of position (1, 2)
    different = np.abs(logits_of(prior, changed) - before).max((0, 2)) > 1e-6
    assert different[place + 1] and different[place + 2 :].any()
    assert not different[: place + 1].any()
    vectors = keras.ops.convert_to_numpy(prior.positions.vectors()).reshape(*GRID, 16)
    rows, columns, stages = (
        keras.ops.convert_to_numpy(getattr(prior.positions, name))
        for name in ("rows", "columns", "stages")
    )
    np.testing.assert_allclose(vectors[2, 3, 1], rows[2] + columns[3] + stages[1], rtol=1e-5)


def test_loss_and_bits_are_a_mean_over_all_tokens(tokens):
    prior = make("autoregressive")
    prior.compile(keras.optimizers.SGD(0.0))
    logs = prior.evaluate({"tokens": tokens}, batch_size=3, verbose=0, return_dict=True)
    logits = logits_of(prior, tokens).astype("float64")
    chosen = np.take_along_axis(logits, tokens.reshape(3, 48, 1), -1)[..., 0]
    expected = (np.log(np.exp(logits).sum(-1)) - chosen).mean()
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)
    assert logs["bits_per_token"] == pytest.approx(expected / np.log(2), rel=1e-5)


def test_each_token_of_a_position_gets_its_part_of_a_map():
    prior = make("autoregressive", models.LabelMapCondition(CLASSES, IMAGE, (2, 3)))
    maps = random_maps()
    prefix, aligned, _ = prior.embed_condition(keras.ops.convert_to_tensor(maps))
    one = make_prior(models.LabelMapCondition(CLASSES, IMAGE, (2, 3)))
    one.condition.set_weights(prior.condition.get_weights())
    expected = one.embed_condition(keras.ops.convert_to_tensor(maps))
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (prefix, expected[0])))
    aligned = keras.ops.convert_to_numpy(aligned).reshape(3, 24, 2, 16)
    for stage in range(2):
        np.testing.assert_allclose(
            aligned[:, :, stage], keras.ops.convert_to_numpy(expected[1]), rtol=1e-5
        )


def test_greedy_samples_are_the_likeliest_tokens_given_those_before():
    condition = models.LabelMapCondition(CLASSES, IMAGE, (2, 3))
    prior, maps = make("autoregressive", condition), random_maps()
    sampled = prior.generate(maps, temperature=0)
    assert sampled.shape == SHAPE
    best = logits_of(prior, sampled, maps).argmax(-1)
    np.testing.assert_array_equal(sampled.reshape(3, 48), best)


@each_kind
def test_tokens_outside_the_mask_are_kept(kind, tokens):
    prior = make(kind)
    mask = np.zeros((3, 4, 6), bool)
    mask[:, 1:3, 2:4] = True
    options = {"tokens": tokens, "seed": 1, **steps(kind)}
    drawn = prior.generate(mask=mask, **options)
    np.testing.assert_array_equal(drawn[~mask], tokens[~mask])
    assert all((drawn[mask] != tokens[mask])[:, stage].any() for stage in range(2))
    deep = np.repeat(mask[..., None], 2, -1)
    np.testing.assert_array_equal(prior.generate(mask=deep, **options), drawn)
    deep[..., 0] = False  # the second stage alone
    second = prior.generate(mask=deep, **options)
    np.testing.assert_array_equal(second[..., 0], tokens[..., 0])
    assert (second[..., 1] != tokens[..., 1]).any()


@pytest.mark.seldom
@pytest.mark.one_backend
@each_kind
def test_a_prior_learns_tokens_and_comes_back_from_its_preset(kind, tmp_path):
    tokens = np.repeat(np.random.default_rng(0).integers(0, CODES, (1, *GRID)), 8, 0)
    prior = make(kind)
    prior.compile(keras.optimizers.Adam(1e-2))
    history = prior.fit({"tokens": tokens}, batch_size=8, epochs=12, verbose=0).history
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    prior.save_to_preset(tmp_path / "prior")
    loaded = keras_regvq.from_preset(str(tmp_path / "prior"))
    assert loaded.grid == GRID
    options = {"num_samples": 2, "seed": 3, **steps(kind)}
    np.testing.assert_array_equal(loaded.generate(**options), prior.generate(**options))
    assert "4 x 6 x 2" in (tmp_path / "prior" / "README.md").read_text()


@pytest.mark.seldom
@pytest.mark.one_backend
@each_kind
def test_generators_of_maps_train_and_generate(kind, tmp_path):
    condition = models.LabelMapCondition(CLASSES, IMAGE, prefix_grid=(2, 3))
    tokenizer = make_tokenizer()
    model = models.SemanticToImage(tokenizer, make(kind, condition))
    model.compile(keras.optimizers.Adam(1e-3))
    images, maps = random_images(4), random_maps(4)
    options = {"batch_size": 2, "verbose": 0}
    history = model.fit({"images": images, "labels": maps}, **options).history
    made = model.tokenize([{"images": images, "labels": maps}], tmp_path / "cache", verbose=False)
    np.testing.assert_array_equal(made["tokens"], tokenizer.encode(images))
    history = model.fit(made, **options).history
    assert np.isfinite(history["loss"]).all()
    mask = np.zeros((2, *IMAGE), bool)
    mask[:, :5, :5] = True  # touches four positions
    sampling = {"seed": 0, **steps(kind)}
    generated = model.generate(maps[:2], images=images[:2], mask=mask, **sampling)
    assert generated.shape == (2, *IMAGE, 3)
    token_mask = np.zeros((2, 4, 6), bool)
    token_mask[:, :2, :2] = True
    tokens = tokenizer.encode(images[:2])
    expected = model.prior.generate(maps[:2], tokens=tokens, mask=token_mask, **sampling)
    np.testing.assert_array_equal(generated, tokenizer.decode(expected))
    model.save_to_preset(tmp_path / "preset")
    loaded = keras_regvq.from_preset(str(tmp_path / "preset"))
    np.testing.assert_array_equal(
        loaded.generate(maps[:2], **sampling), model.generate(maps[:2], **sampling)
    )


@pytest.mark.seldom
@pytest.mark.one_backend
@each_kind
def test_generators_of_captions_train_and_generate(kind):
    encoder = models.VocabularyEncoder(["a", "red", "boat"], 5)
    model = models.TextToImage(make_tokenizer(), make(kind, encoder.condition()), encoder)
    model.compile(keras.optimizers.Adam(1e-3))
    captions = ["a red boat", "a boat"]
    data = {"images": random_images(2), "captions": encoder.encode(captions)}
    history = model.fit(data, batch_size=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert model.generate(captions, seed=0, **steps(kind)).shape == (2, *IMAGE, 3)


@pytest.mark.one_backend
def test_samples_are_shown_as_they_form():
    prior, shown = make("diffusion"), []
    options = {"num_samples": 2, "num_steps": 4, "seed": 0}
    drawn = prior.generate(on_step=lambda done, now: shown.append(now), **options)
    assert drawn.shape == (2, *GRID) and {now.shape for now in shown} == {(2, *GRID)}
    np.testing.assert_array_equal(drawn, prior.generate(**options))


def test_what_does_not_fit_is_refused(tokens):
    prior = make("autoregressive")
    prior.compile()
    with pytest.raises(ValueError, match=r"(?s)tokens.*\(3, 4, 6\).*\(B, h, w, 2\)"):
        prior.fit({"tokens": tokens[..., 0]}, verbose=0)
    with pytest.raises(ValueError, match=r"(?s)tokens.*\(4, 6, 1\).*grid \(4, 6, 2\)"):
        prior.fit({"tokens": tokens[..., :1]}, verbose=0)
    with pytest.raises(ValueError, match="(?s)mask.*booleans of shape"):
        prior.generate(tokens=tokens, mask=np.ones((3, 4, 5)))
    condition = models.LabelMapCondition(CLASSES, IMAGE, prefix_grid=(2, 3))
    with pytest.raises(ValueError, match=r"(?s)prior.*grid \(4, 6\).*\(4, 6, 2\)"):
        models.SemanticToImage(make_tokenizer(), make_prior(condition))
    for grid in ((4, 6, 0), (4, 6, 2, 2), (0, 6, 2)):
        with pytest.raises(ValueError, match="grid"):
            models.AutoregressivePrior(CODES, grid)
    with pytest.raises(ValueError, match="(?s)process.*2 tokens a position.*discrete"):
        make_diffusion_prior("gaussian", grid=GRID)

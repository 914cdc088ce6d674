"""Tokenizers with other quantizers than the paper's three go wherever those go."""

import keras
import numpy as np
import onnxruntime
import pytest

import keras_regvq
from keras_regvq import models, quantizers
from keras_regvq.presets.formats.diffusers import export_diffusers
from keras_regvq.presets.formats.llamagen import llamagen_state_dict
from keras_regvq.presets.formats.vqgan_names import taming_tensors
from tests.models.priors.tiny_diffusion import SIZES
from tests.models.priors.tiny_prior import randomize
from tests.training.conftest import differences, make_tokenizer, make_trainer, weights_of

pytestmark = pytest.mark.eager

LEVELS = (4, 3, 5)
CODES = 60
OTHERS = {
    "fsq": lambda: quantizers.FiniteScalarQuantizer(LEVELS),
    "lfq": lambda: quantizers.LookupFreeQuantizer(6),
    "bsq": lambda: quantizers.LookupFreeQuantizer(6, spherical=True),
    "simvq": lambda: quantizers.SimVQQuantizer(CODES, 4, rotation_trick=True),
    "vq_ema": lambda: quantizers.VectorQuantizer(
        CODES, 4, normalize=True, ema=0.9, codebook_start="kmeans", dead_code_threshold=0.5
    ),
    "vq_projected": lambda: quantizers.VectorQuantizer(
        CODES, 4, codebook_start="sampled", dead_code_threshold=0.5, projection_dim=3
    ),
    "ibq": lambda: quantizers.IndexBackpropagationQuantizer(CODES, 4),
}
OTHERS["rq"] = lambda: quantizers.ResidualQuantizer(quantizers.VectorQuantizer(CODES, 4), 3)
OTHERS["rvq"] = lambda: quantizers.ResidualQuantizer([OTHERS["simvq"](), OTHERS["ibq"]()])
each_quantizer = pytest.mark.parametrize("name", OTHERS)


@pytest.fixture
def images(rng):
    return rng.random((4, 16, 16, 3), dtype="float32")


@pytest.fixture
def tokenizer():
    return randomize(make_tokenizer(OTHERS["fsq"]()))


@pytest.mark.seldom
@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("name", "contrastive"), [("fsq", "probabilistic"), *((name, "plain") for name in OTHERS)]
)
def test_it_trains_with_the_contrastive_loss_and_a_discriminator(images, name, contrastive):
    trainer = make_trainer(OTHERS[name](), contrastive=contrastive)
    trainer.compile(keras.optimizers.Adam(1e-2), keras.optimizers.Adam(1e-3))
    before = weights_of(trainer.tokenizer.encoder)
    logs = trainer.fit(images, batch_size=2, epochs=2, verbose=0).history
    # Nothing is sampled, so that nothing weighs in the probabilistic loss.
    assert all((value != 0) == (contrastive == "plain") for value in logs["contrastive"])
    assert np.isfinite([values for values in logs.values()]).all()
    assert differences(weights_of(trainer.tokenizer.encoder), before) > 1e-3
    assert 1 < logs["codebook_perplexity"][-1] <= trainer.tokenizer.codebook_size


@pytest.mark.one_backend
@each_quantizer
def test_presets_bring_back_the_options_and_the_tokens(name, images, tmp_path):
    tokenizer = randomize(make_tokenizer(OTHERS[name]()))
    tokenizer.save_to_preset(tmp_path / "preset")
    loaded = keras_regvq.from_preset(str(tmp_path / "preset"))
    assert loaded.quantizer.get_config() == tokenizer.quantizer.get_config()
    tokens = tokenizer.encode(images)
    assert len(np.unique(tokens)) > 5 and tokens.max() < tokenizer.codebook_size
    np.testing.assert_array_equal(loaded.encode(images), tokens)
    np.testing.assert_array_equal(loaded.decode(tokens), tokenizer.decode(tokens))


@pytest.mark.seldom
@pytest.mark.one_backend
@pytest.mark.parametrize(
    "name", ["fsq", "lfq", "simvq", "ibq", "rq", "rvq", "vq_ema", "vq_projected"]
)
def test_onnx_files_give_the_same_tokens_and_images(name, images, tmp_path):
    tokenizer = randomize(make_tokenizer(OTHERS[name]()))
    paths = tokenizer.export(tmp_path / "served", batch_size=4)
    tokens = tokenizer.encode(images)
    results = {}
    for part, value in (("encode", images), ("decode", tokens)):
        session = onnxruntime.InferenceSession(paths[part], providers=["CPUExecutionProvider"])
        (results[part],) = session.run(None, {session.get_inputs()[0].name: value})
    np.testing.assert_array_equal(results["encode"], tokens)
    np.testing.assert_allclose(results["decode"], tokenizer.decode(tokens), atol=1e-4)


def make_prior(kind, grid):
    if kind == "autoregressive":
        return models.AutoregressivePrior(CODES, grid, num_layers=1, num_heads=2, hidden_dim=16)
    options = {"embedding_dim": len(LEVELS)} if kind == "gaussian" else {"num_timesteps": 6}
    return models.DiffusionPrior(CODES, grid, kind, **SIZES, **options)


@pytest.mark.one_backend
@pytest.mark.parametrize("kind", ["autoregressive", "discrete", "gaussian"])
def test_priors_train_on_its_tokens_and_sample_them(kind, tokenizer, images):
    prior = make_prior(kind, tokenizer.token_grid)
    prior.set_codebook(tokenizer.quantizer.codes())
    tokens = tokenizer.encode(images)
    if kind == "gaussian":  # all codes are told apart
        every = np.arange(64).reshape(1, 64) % CODES
        found = prior.process.to_tokens(prior.process.from_tokens(every))
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), every)
    prior.compile(keras.optimizers.Adam(1e-3))
    history = prior.fit({"tokens": tokens}, batch_size=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    steps = {} if kind == "autoregressive" else {"num_steps": 3}
    sampled = prior.generate(num_samples=2, seed=1, **steps)
    assert sampled.shape == (2, 8, 8) and sampled.min() >= 0 and sampled.max() < CODES
    assert tokenizer.decode(sampled).shape == (2, 16, 16, 3)


def test_formats_that_need_a_codebook_name_the_quantizer(tokenizer, tmp_path):
    for export in (
        lambda: export_diffusers(tokenizer, tmp_path / "diffusers"),
        lambda: taming_tensors(tokenizer),
        lambda: llamagen_state_dict(tokenizer),
    ):
        with pytest.raises(ValueError, match="(?s)FiniteScalarQuantizer.*VectorQuantizer"):
            export()


@pytest.mark.seldom
@pytest.mark.parametrize("name", ["simvq", "vq_ema", "vq_started"])
def test_it_is_written_for_others_as_the_vq_that_it_is_at_inference(name, images, tmp_path):
    started = quantizers.VectorQuantizer(CODES, 4, codebook_start="sampled")
    tokenizer = randomize(make_tokenizer({**OTHERS, "vq_started": lambda: started}[name]()))
    tokenizer(images, training=True)  # moves codes that are not moved by a gradient
    if tokenizer.quantizer.normalize:
        path = keras_regvq.presets.export(tokenizer, tmp_path / "llamagen", format="llamagen")
        loaded = keras_regvq.from_preset(str(path), image_size=16)
        np.testing.assert_array_equal(loaded.encode(images), tokenizer.encode(images))
        return
    path = keras_regvq.presets.export(tokenizer, tmp_path / "taming", format="taming")
    loaded = keras_regvq.from_preset(str(path), image_size=16)
    assert type(loaded.quantizer) is quantizers.VectorQuantizer
    tokens = tokenizer.encode(images)
    np.testing.assert_array_equal(loaded.encode(images), tokens)
    np.testing.assert_allclose(loaded.decode(tokens), tokenizer.decode(tokens), atol=1e-5)


def test_projected_codes_are_refused_by_formats_that_have_none():
    tokenizer = make_tokenizer(OTHERS["vq_projected"]())
    with pytest.raises(ValueError, match="projection_dim=3.*projection_dim=None"):
        taming_tensors(tokenizer)

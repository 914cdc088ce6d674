import keras
import numpy as np
import pytest
from keras import ops

from keras_regvq import models
from keras_regvq.models.priors.diffusion.discrete import DiscreteProcess
from keras_regvq.models.priors.diffusion.gaussian import GaussianProcess
from tests.models.priors.tiny_diffusion import (
    EMBEDDING,
    PROCESSES,
    class_priors,
    exact_denoiser,
    make_diffusion_prior,
)
from tests.models.priors.tiny_prior import (
    CLASSES,
    CODES,
    GRID,
    IMAGE,
    random_maps,
    random_tokens,
    randomize,
)

pytestmark = pytest.mark.eager

LENGTH = GRID[0] * GRID[1]


@pytest.fixture(scope="module")
def priors():
    return class_priors()


def outputs_of(prior, **inputs):
    tensors = {name: ops.convert_to_tensor(values, "int32") for name, values in inputs.items()}
    return keras.tree.map_structure(ops.convert_to_numpy, prior(tensors))


@pytest.mark.seldom
@pytest.mark.one_backend
@pytest.mark.parametrize("grid", [(4, 4), (5, 7), (16, 8)])
@pytest.mark.parametrize("process", PROCESSES)
def test_every_grid_works_odd_and_oblong_ones_too(process, grid):
    prior = make_diffusion_prior(process, grid=grid, channel_multipliers=(1, 1, 2))
    tokens = np.random.default_rng(0).integers(0, CODES, (2, *grid))
    outputs = outputs_of(prior, tokens=tokens)
    expected = (2, grid[0] * grid[1], CODES) if process == "discrete" else (2, *grid, 6)
    assert outputs["prediction"].shape == expected
    assert np.isfinite(outputs["prediction"]).all()
    assert prior.generate(num_samples=2, num_steps=2, seed=0).shape == (2, *grid)


def test_the_discrete_loss_is_cross_entropy_plus_the_weighted_bound():
    prior = make_diffusion_prior(variational_weight=0.3)
    tokens = random_tokens(8)
    outputs = prior({"tokens": ops.convert_to_tensor(tokens, "int32")})
    losses = prior.token_losses({"tokens": ops.convert_to_tensor(tokens, "int32")}, outputs)
    losses = {name: float(ops.convert_to_numpy(value)) for name, value in losses.items()}
    logits = ops.convert_to_numpy(outputs["prediction"]).astype("float64")
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    clean = tokens.reshape(8, LENGTH)
    picked = np.take_along_axis(log_p, clean[..., None], -1)
    assert losses["cross_entropy"] == pytest.approx(-picked.mean(), rel=1e-5)
    bound = losses["bits_per_token"] * np.log(2)
    assert losses["loss"] == pytest.approx(losses["cross_entropy"] + 0.3 * bound, rel=1e-5)
    # Time is spread evenly: one step of each of 8 twelfths-wide strata, t = 1 .. 12.
    times = np.sort(ops.convert_to_numpy(outputs["times"]) * 12)
    np.testing.assert_allclose(times, np.round(times), atol=1e-5)
    assert times[0] >= 1 and times[-1] <= 12 and np.diff(times).max() <= 2 + 1e-5


def test_the_bound_of_an_exact_network_is_the_entropy_of_the_tokens(monkeypatch):
    prior = make_diffusion_prior()
    monkeypatch.setattr(prior, "denoise", exact_denoiser(prior, np.full(CODES, 1 / CODES)))
    tokens = np.random.default_rng(0).integers(0, CODES, (1024, *GRID))
    tokens = ops.convert_to_tensor(tokens, "int32")
    losses = prior.token_losses({"tokens": tokens}, prior({"tokens": tokens}))
    assert float(losses["bits_per_token"]) == pytest.approx(np.log2(CODES), rel=0.03)


@pytest.mark.one_backend
def test_what_a_token_that_is_not_masked_says_is_taken_by_bayess_rule():
    prior = make_diffusion_prior(num_timesteps=10, replace_share=0.3)
    for variable in prior.process.head.trainable_variables:
        variable.assign(np.zeros(variable.shape))  # the rest of the picture says nothing
    tokens, times = random_tokens(1).reshape(1, LENGTH), np.float32([0.4])
    tokens[0, 0] = CODES  # a mask
    logits = prior.denoise(*map(ops.convert_to_tensor, (tokens.astype("int32"), times)))
    chances = ops.convert_to_numpy(ops.softmax(logits))[0]
    likelihood = 0.3 * 0.4 / CODES + 0.6 * np.eye(CODES)  # row x_0, column x_t
    expected = (likelihood / likelihood.sum(0)).T[tokens[0, 1:]]
    np.testing.assert_allclose(chances[1:], expected, rtol=1e-4)
    np.testing.assert_allclose(chances[0], 1 / CODES, rtol=1e-4)


def test_the_gaussian_loss_is_the_squared_error_of_the_velocity(priors):
    tokens = random_tokens(4)
    outputs = outputs_of(priors["gaussian"], tokens=tokens, condition=[0, 1, 2, 3])
    latents = (EMBEDDING - EMBEDDING.mean(0)) / EMBEDDING.std(0)
    clean, angle = latents[tokens], np.pi / 2 * outputs["times"][:, None, None, None]
    noise = (outputs["noised"] - np.cos(angle) * clean) / np.sin(angle)
    velocity = np.cos(angle) * noise - np.sin(angle) * clean
    np.testing.assert_allclose(outputs["velocity"], velocity, atol=1e-3)
    assert noise.std() == pytest.approx(1, abs=0.1)
    losses = priors["gaussian"].token_losses({"tokens": tokens}, outputs)
    expected = np.mean((outputs["prediction"] - outputs["velocity"]) ** 2)
    assert float(losses["loss"]) == pytest.approx(expected, rel=1e-5)


def test_latents_snap_back_to_their_tokens(priors):
    process, tokens = priors["gaussian"].process, random_tokens().reshape(3, LENGTH)
    latents = process.from_tokens(ops.convert_to_tensor(tokens, "int32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(process.to_tokens(latents)), tokens)


@pytest.mark.seldom
@pytest.mark.compiled
@pytest.mark.one_backend
@pytest.mark.parametrize("process, shift", [("discrete", 3), ("gaussian", 0)])
def test_fit_learns_what_is_where(process, shift):
    """A token depends on its row and, in the discrete case, on the class: few steps draw them."""
    classes = np.arange(300) % CLASSES
    rows = 2 * np.arange(GRID[0])[None, :, None] + shift * classes[:, None, None]
    tokens = np.broadcast_to(rows % CODES, (300, *GRID))
    prior = models.DiffusionPrior(
        CODES,
        GRID,
        process,
        channels=16,
        channel_multipliers=(1,),
        num_res_blocks=1,
        attention_levels=(),
        num_heads=2,
        condition=models.ClassCondition(CLASSES),
        embedding_dim=6 if process == "gaussian" else None,
        seed=0,
    )
    prior.set_codebook(EMBEDDING)
    prior.compile(keras.optimizers.AdamW(6e-3, use_ema=True, ema_momentum=0.9))
    data = {"tokens": tokens, "condition": classes}
    history = prior.fit(data, batch_size=30, epochs=13, verbose=0).history
    assert history["loss"][-1] < 0.4 * history["loss"][0]
    assert set(history) == {"loss", *prior.process.logged}
    drawn = prior.generate(np.arange(CLASSES), num_steps=10, seed=0)
    assert (drawn == tokens[:CLASSES]).mean() > 0.9
    prior.fit(data, batch_size=30, epochs=1, verbose=0)  # averages do not prevent a second fit


@pytest.mark.one_backend
def test_label_maps_condition_a_diffusion_prior_too():
    condition = models.LabelMapCondition(CLASSES, IMAGE, prefix_grid=(2, 3))
    prior = make_diffusion_prior(condition=condition)
    maps = random_maps()
    first = prior.generate(maps, num_steps=3, seed=0)
    assert first.shape == (3, *GRID)
    assert (prior.generate(random_maps(seed=9), num_steps=3, seed=0) != first).any()


@pytest.mark.one_backend
@pytest.mark.parametrize("process", PROCESSES)
def test_a_preset_gives_the_same_samples(tmp_path, priors, process):
    prior = priors[process]
    prior.save_to_preset(tmp_path / "prior")
    loaded = models.DiffusionPrior.from_preset(str(tmp_path / "prior"))
    options = {"num_steps": 4, "seed": 1}
    expected = prior.generate([0, 4, 2], **options)
    np.testing.assert_array_equal(loaded.generate([0, 4, 2], **options), expected)


@pytest.mark.one_backend
def test_half_precision_keeps_logits_latents_and_losses_in_float32():
    for process in PROCESSES:
        prior = make_diffusion_prior(process, dtype="mixed_bfloat16")
        outputs = outputs_of(prior, tokens=random_tokens())
        assert outputs["prediction"].dtype == np.float32
        assert np.isfinite(outputs["prediction"]).all()


@pytest.mark.parametrize(
    "options, named",
    [
        ({"process": "latent"}, "process"),
        ({"process": 3}, "process"),
        ({"process": DiscreteProcess(), "num_timesteps": 50}, "num_timesteps"),
        ({"process": "gaussian"}, "embedding_dim"),
        ({"embedding_dim": 4}, "embedding_dim"),
        ({"attention_levels": (2,)}, "attention_levels"),
        ({"num_heads": 3}, "num_heads"),
        ({"channel_multipliers": ()}, "channel_multipliers"),
        ({"replace_share": 1.0}, "replace_share"),
    ],
)
def test_wrong_settings_are_named(options, named):
    with pytest.raises(ValueError, match=named):
        models.DiffusionPrior(CODES, GRID, **{"channels": 8} | options)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "process, named",
    [
        (DiscreteProcess(num_timesteps=12, replace_share=0.3), {"num_timesteps": 12}),
        (GaussianProcess(embedding_dim=6), {"embedding_dim": 6}),
    ],
)
def test_a_process_is_given_by_name_or_as_an_object(process, named):
    kind, sizes = process.kind, {"channels": 8, "num_res_blocks": 1, "seed": 0}
    options = {"replace_share": 0.3} if kind == "discrete" else {}
    by_name = randomize(models.DiffusionPrior(CODES, GRID, kind, **sizes, **named, **options))
    prior = randomize(models.DiffusionPrior(CODES, GRID, process, **sizes))
    config = {**by_name.get_config(), "name": prior.name}
    assert prior.get_config() == config and config["process"] == kind
    for each in (prior, by_name):
        each.set_codebook(EMBEDDING)
    drawn, expected = (p.generate(num_samples=2, num_steps=3, seed=1) for p in (prior, by_name))
    np.testing.assert_array_equal(drawn, expected)


@keras.saving.register_keras_serializable(package="tests")
class HalvedProcess(DiscreteProcess):
    """A process of a user: the weight of its bound is halved."""

    def losses(self, tokens, outputs):
        losses = super().losses(tokens, outputs)
        return {**losses, "loss": (losses["loss"] + losses["cross_entropy"]) / 2}


@pytest.mark.one_backend
def test_a_process_of_a_users_own_is_trained_saved_and_sampled(tmp_path):
    process = HalvedProcess(num_timesteps=12, variational_weight=0.5)
    prior = models.DiffusionPrior(CODES, GRID, process, channels=8, num_res_blocks=1, seed=0)
    prior.compile()
    prior.fit({"tokens": random_tokens(8)}, batch_size=4, verbose=0)
    prior.save_to_preset(tmp_path / "prior")
    loaded = models.DiffusionPrior.from_preset(tmp_path / "prior")
    assert type(loaded.process) is HalvedProcess and loaded.process.variational_weight == 0.5
    drawn, expected = (p.generate(num_samples=2, num_steps=3, seed=1) for p in (loaded, prior))
    np.testing.assert_array_equal(drawn, expected)


def test_a_gaussian_prior_without_codebook_says_what_to_do():
    prior = models.DiffusionPrior(CODES, GRID, "gaussian", channels=8, embedding_dim=4)
    with pytest.raises(ValueError, match="set_codebook"):
        prior.generate(num_steps=2)
    prior.compile()
    with pytest.raises(ValueError, match="set_codebook"):
        prior.fit({"tokens": random_tokens()}, verbose=0)
    with pytest.raises(ValueError, match=r"\(11, 4\)"):
        prior.set_codebook(EMBEDDING)

import keras
import numpy as np
import pytest
from keras import ops

from keras_regvq import models
from keras_regvq.models import inference
from tests.models.tiny_diffusion import EMBEDDING, make_diffusion_prior
from tests.models.tiny_prior import CLASSES, CODES, GRID, IMAGE, random_maps, random_tokens

LENGTH = GRID[0] * GRID[1]
PROCESSES = ("discrete", "gaussian")
METHODS = [
    ("discrete", "ancestral"),
    ("discrete", "confidence"),
    ("gaussian", "ddim"),
    ("gaussian", "dpm_solver++"),
]


@pytest.fixture(scope="module")
def priors():
    return {
        process: make_diffusion_prior(
            process, models.ClassCondition(CLASSES), condition_dropout=0.2
        )
        for process in PROCESSES
    }


def outputs_of(prior, **inputs):
    tensors = {name: ops.convert_to_tensor(values, "int32") for name, values in inputs.items()}
    return keras.tree.map_structure(ops.convert_to_numpy, prior(tensors))


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


def exact_denoiser(prior, shares):
    """p(x_0 | x_t) by Bayes's rule, where every position has these shares of tokens."""
    chain = prior.process.chain

    def denoise(noised, times, *rest, **options):
        alpha, beta, gamma = chain.chances(times[:, None, None] * chain.num_timesteps)
        same = ops.cast(noised[..., None] == ops.arange(CODES)[None, None], "float32")
        likelihood = ops.where(noised[..., None] == CODES, gamma, alpha * same + beta)
        return ops.log(likelihood * ops.convert_to_tensor(shares, "float32"))

    return denoise


def test_the_bound_of_an_exact_network_is_the_entropy_of_the_tokens(monkeypatch):
    prior = make_diffusion_prior()
    monkeypatch.setattr(prior, "denoise", exact_denoiser(prior, np.full(CODES, 1 / CODES)))
    tokens = np.random.default_rng(0).integers(0, CODES, (1024, *GRID))
    tokens = ops.convert_to_tensor(tokens, "int32")
    losses = prior.token_losses({"tokens": tokens}, prior({"tokens": tokens}))
    assert float(losses["bits_per_token"]) == pytest.approx(np.log2(CODES), rel=0.03)


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
    latents = process.latents(ops.convert_to_tensor(tokens, "int32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(process.nearest_tokens(latents)), tokens)


@pytest.mark.parametrize("process, method", METHODS)
def test_the_same_seed_gives_the_same_tokens_and_another_others(priors, process, method):
    prior, options = priors[process], {"method": method, "num_steps": 4}
    first = prior.generate([0, 4, 2], seed=1, **options)
    assert first.dtype == np.int32 and first.shape == (3, *GRID)
    assert 0 <= first.min() and first.max() < CODES
    np.testing.assert_array_equal(prior.generate([0, 4, 2], seed=1, **options), first)
    assert (prior.generate([0, 4, 2], seed=2, **options) != first).mean() > 0.2


@pytest.mark.parametrize("process, method", METHODS)
def test_a_result_does_not_depend_on_the_batch_size(priors, process, method):
    prior, options = priors[process], {"method": method, "num_steps": 3, "seed": 3}
    whole = prior.generate([0, 1, 2, 3, 4], batch_size=5, **options)
    parts = prior.generate([0, 1, 2, 3, 4], batch_size=2, verbose=0, **options)
    assert (parts == whole).mean() > 0.99  # sums in another order decide near ties


@pytest.mark.parametrize("process, method", METHODS)
def test_guidance_one_is_no_guidance_and_more_changes_the_samples(priors, process, method):
    prior, options = priors[process], {"method": method, "num_steps": 4, "seed": 1}
    plain = prior.generate([0, 4, 2], **options)
    np.testing.assert_array_equal(prior.generate([0, 4, 2], guidance_scale=1.0, **options), plain)
    nearly = prior.generate([0, 4, 2], guidance_scale=1.0 + 1e-7, **options)
    assert (nearly == plain).mean() > 0.99  # through the doubled batch
    assert (prior.generate([0, 4, 2], guidance_scale=8.0, **options) != plain).any()


@pytest.mark.parametrize("process", PROCESSES)
def test_a_negative_condition_takes_the_place_of_no_condition(priors, process):
    prior, options = priors[process], {"num_steps": 4, "seed": 1, "guidance_scale": 3.0}
    classes = [0, 4, 2]
    plain = prior.generate(classes, num_steps=4, seed=1)
    same = prior.generate(classes, negative_condition=classes, **options)
    assert (same == plain).mean() > 0.98  # guided away from itself: nothing changes
    other = prior.generate(classes, negative_condition=[1, 1, 1], **options)
    assert (other != prior.generate(classes, **options)).any()


@pytest.mark.parametrize("process, method", METHODS)
def test_inpainting_keeps_what_the_mask_leaves_out(priors, process, method):
    prior, tokens, mask = priors[process], random_tokens(), np.zeros((3, *GRID), bool)
    mask[:, 1:3, 2:5] = True
    options = {"tokens": tokens, "method": method, "num_steps": 4, "seed": 1}
    painted = prior.generate([0, 4, 2], mask=mask, **options)
    np.testing.assert_array_equal(painted[~mask], tokens[~mask])
    assert (painted[mask] != tokens[mask]).any()
    nothing = prior.generate([0, 4, 2], mask=np.zeros_like(mask), **options)
    np.testing.assert_array_equal(nothing, tokens)


def test_the_masked_sampler_never_changes_a_fixed_token(priors, monkeypatch):
    """Watched inside the loop: what is unmasked after a step is the same after the next."""
    prior, seen = priors["discrete"], []
    keep = prior.process._keep_the_surest

    def watched(noised, clean, logits, now):
        after = keep(noised, clean, logits, now)
        seen.append((np.array(noised), np.array(after)))
        return after

    monkeypatch.setattr(prior.process, "_keep_the_surest", watched)
    monkeypatch.setattr(
        "keras_regvq.models.discrete_process.ops.fori_loop",
        lambda lower, upper, body, state: _python_loop(lower, upper, body, state),
    )
    mask = np.ones((2, *GRID), bool)
    rng = np.random.default_rng(0)
    arrays = prior.process.sampling_arrays("confidence", 5, mask.reshape(2, -1), rng)
    batch = {"tokens": np.zeros((2, LENGTH), "int32"), "mask": mask.reshape(2, -1)}
    batch = {**batch, "temperature": np.ones(2, "float32"), **arrays}
    batch = keras.tree.map_structure(ops.convert_to_tensor, batch)
    embedded = prior.embed_condition(ops.convert_to_tensor([0, 4], "int32"))
    with _without_gradients():
        result = prior.process.sample(lambda x, t: prior.denoise(x, t, *embedded), batch)
    assert len(seen) == 5
    for before, after in seen:
        fixed = before != CODES
        np.testing.assert_array_equal(after[fixed], before[fixed])
    left = [(after == CODES).sum(axis=1) for _, after in seen]
    expected = [int(LENGTH * np.cos(np.pi / 2 * i / 5) + 1e-6) for i in range(1, 6)]
    np.testing.assert_array_equal(left, np.stack([expected, expected], axis=1))
    assert (np.array(result) < CODES).all()


def _python_loop(lower, upper, body, state):
    for index in range(lower, upper):
        state = body(index, state)
    return state


def _without_gradients():
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()
    import contextlib

    return contextlib.nullcontext()


def test_ancestral_sampling_of_an_exact_network_draws_from_the_data(monkeypatch):
    """One position, two possible tokens: the chain must end in their true shares."""
    prior = make_diffusion_prior(grid=(1, 1), num_timesteps=8, channel_multipliers=(1,),
                                 attention_levels=())  # fmt: skip
    shares = np.full(CODES, 1e-9)
    shares[[3, 7]] = 0.25, 0.75
    monkeypatch.setattr(prior, "denoise", exact_denoiser(prior, shares))
    for steps in (8, 3):
        drawn = prior.generate(num_samples=6000, num_steps=steps, seed=0, batch_size=6000)
        counts = np.bincount(drawn.ravel(), minlength=CODES) / 6000
        np.testing.assert_allclose(counts, shares, atol=4 * 0.5 / 6000**0.5)


@pytest.mark.parametrize("process, shift", [("discrete", 3), ("gaussian", 0)])
def test_fit_learns_what_is_where(process, shift):
    """A token depends on its row and, in the discrete case, on the class: few steps paint them."""
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
    painted = prior.generate(np.arange(CLASSES), num_steps=10, seed=0)
    assert (painted == tokens[:CLASSES]).mean() > 0.9
    prior.fit(data, batch_size=30, epochs=1, verbose=0)  # averages do not prevent a second fit


def test_label_maps_condition_a_diffusion_prior_too():
    condition = models.LabelMapCondition(CLASSES, IMAGE, prefix_grid=(2, 3))
    prior = make_diffusion_prior(condition=condition)
    maps = random_maps()
    first = prior.generate(maps, num_steps=3, seed=0)
    assert first.shape == (3, *GRID)
    assert (prior.generate(random_maps(seed=9), num_steps=3, seed=0) != first).any()


def test_calls_of_equal_shape_compile_once(monkeypatch):
    traced, original = [], inference._FunctionModel.call

    def counting(self, inputs):
        traced.append(1)
        return original(self, inputs)

    monkeypatch.setattr(inference._FunctionModel, "call", counting)
    prior = make_diffusion_prior()
    for seed, temperature in enumerate((1.0, 0.7, 1.3)):
        prior.generate(num_samples=2, num_steps=3, seed=seed, temperature=temperature)
        if seed == 0:
            first = len(traced)
    assert len(traced) == (3 * first if keras.backend.backend() == "torch" else first)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_preset_gives_the_same_samples(tmp_path, priors, process):
    prior = priors[process]
    prior.save_to_preset(tmp_path / "prior")
    loaded = models.DiffusionPrior.from_preset(str(tmp_path / "prior"))
    options = {"num_steps": 4, "seed": 1}
    expected = prior.generate([0, 4, 2], **options)
    np.testing.assert_array_equal(loaded.generate([0, 4, 2], **options), expected)


def test_half_precision_keeps_logits_latents_and_losses_in_float32():
    for process in PROCESSES:
        prior = make_diffusion_prior(process, dtype="mixed_bfloat16")
        outputs = outputs_of(prior, tokens=random_tokens())
        assert outputs["prediction"].dtype == np.float32
        assert np.isfinite(outputs["prediction"]).all()


@pytest.mark.parametrize(
    "process, arguments, named",
    [
        ("discrete", {"method": "ddim"}, "'ancestral', 'confidence'"),
        ("gaussian", {"method": "ancestral"}, "'dpm_solver\\+\\+', 'ddim'"),
        ("discrete", {"num_steps": 13}, "num_timesteps=12"),
        ("discrete", {"num_steps": 0}, "num_steps"),
        ("gaussian", {"temperature": 0.5}, "for discrete priors"),
        ("gaussian", {"eta": 0.5}, "eta"),
        ("gaussian", {"method": "ddim", "eta": 2}, "eta"),
        ("discrete", {"guidance_scale": -1}, "guidance_scale"),
        ("discrete", {"negative_condition": [1]}, "negative_condition"),
        ("discrete", {"negative_condition": [1, 1, 1]}, "guidance_scale"),
        ("discrete", {"condition": [9, 1, 1]}, "class labels"),
    ],
)
def test_wrong_sampling_arguments_are_named(process, arguments, named):
    prior = make_diffusion_prior(process, models.ClassCondition(CLASSES))
    with pytest.raises(ValueError, match=named):
        prior.generate(**{"condition": [0, 1, 2], "num_steps": 4} | arguments)


@pytest.mark.parametrize(
    "options, named",
    [
        ({"process": "latent"}, "process"),
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


def test_a_gaussian_prior_without_codebook_says_what_to_do():
    prior = models.DiffusionPrior(CODES, GRID, "gaussian", channels=8, embedding_dim=4)
    with pytest.raises(ValueError, match="set_codebook"):
        prior.generate(num_steps=2)
    prior.compile()
    with pytest.raises(ValueError, match="set_codebook"):
        prior.fit({"tokens": random_tokens()}, verbose=0)
    with pytest.raises(ValueError, match=r"\(11, 4\)"):
        prior.set_codebook(EMBEDDING)

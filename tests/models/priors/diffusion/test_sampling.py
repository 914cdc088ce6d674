import contextlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_regvq import models
from keras_regvq.models import batched_function as inference
from keras_regvq.models.priors.diffusion.ancestral import AncestralSampler
from keras_regvq.models.priors.diffusion.confidence import ConfidenceSampler
from keras_regvq.models.priors.diffusion.ddim import DDIMSampler
from keras_regvq.models.priors.diffusion.dpm_solver import DPMSolverSampler
from keras_regvq.models.priors.diffusion.guidance import denoiser
from keras_regvq.models.priors.diffusion.parts import part_length
from tests.models.priors.tiny_diffusion import (
    PROCESSES,
    class_priors,
    exact_denoiser,
    make_diffusion_prior,
)
from tests.models.priors.tiny_prior import CLASSES, CODES, GRID, random_tokens

LENGTH = GRID[0] * GRID[1]
SAMPLERS = [
    ("discrete", "ancestral"),
    ("discrete", "confidence"),
    ("gaussian", "ddim"),
    ("gaussian", "dpm_solver++"),
]

OBJECTS = {
    "ancestral": AncestralSampler(),
    "confidence": ConfidenceSampler(),
    "ddim": DDIMSampler(),
    "dpm_solver++": DPMSolverSampler(),
}


@pytest.fixture(scope="module")
def priors():
    return class_priors()


@pytest.mark.parametrize("process, sampler", SAMPLERS)
def test_the_same_seed_gives_the_same_tokens_and_another_others(priors, process, sampler):
    prior, options = priors[process], {"sampler": sampler, "num_steps": 4}
    first = prior.generate([0, 4, 2], seed=1, **options)
    assert first.dtype == np.int32 and first.shape == (3, *GRID)
    assert 0 <= first.min() and first.max() < CODES
    np.testing.assert_array_equal(prior.generate([0, 4, 2], seed=1, **options), first)
    assert (prior.generate([0, 4, 2], seed=2, **options) != first).mean() > 0.2


@pytest.mark.parametrize("process, sampler", SAMPLERS)
def test_what_it_has_so_far_is_shown_and_changes_nothing(priors, process, sampler):
    prior, shown = priors[process], []
    options = {"sampler": sampler, "num_steps": 4, "seed": 1}
    tokens = random_tokens()
    mask = np.zeros(tokens.shape, bool)
    mask[:, 1:] = True
    options |= {"tokens": tokens, "mask": mask}
    whole = prior.generate([0, 4, 2], **options)
    parts = prior.generate([0, 4, 2], on_step=lambda *now: shown.append(now), **options)
    assert (parts == whole).mean() > 0.99
    assert [done for done, _ in shown] == [1, 2, 3, 4]
    assert all(
        seen.shape == tokens.shape and (seen[:, 0] == tokens[:, 0]).all() for _, seen in shown
    )
    assert (shown[0][1] != parts).any()


@pytest.mark.parametrize("steps, length", [(10, 1), (25, 5), (100, 10), (23, 23), (1, 1)])
def test_parts_are_equally_long_and_few(steps, length):
    assert part_length(steps) == length


@pytest.mark.one_backend
@pytest.mark.parametrize("process, sampler", SAMPLERS)
def test_a_result_does_not_depend_on_the_batch_size(priors, process, sampler):
    prior, options = priors[process], {"sampler": sampler, "num_steps": 3, "seed": 3}
    whole = prior.generate([0, 1, 2, 3, 4], batch_size=5, **options)
    parts = prior.generate([0, 1, 2, 3, 4], batch_size=2, verbose=0, **options)
    assert (parts == whole).mean() > 0.99  # sums in another order decide near ties


@pytest.mark.one_backend
@pytest.mark.parametrize("process, sampler", SAMPLERS)
def test_guidance_one_is_no_guidance_and_more_changes_the_samples(priors, process, sampler):
    prior, options = priors[process], {"sampler": sampler, "num_steps": 4, "seed": 1}
    plain = prior.generate([0, 4, 2], **options)
    np.testing.assert_array_equal(prior.generate([0, 4, 2], guidance_scale=1.0, **options), plain)
    nearly = prior.generate([0, 4, 2], guidance_scale=1.0 + 1e-7, **options)
    assert (nearly == plain).mean() > 0.99  # through the doubled batch
    assert (prior.generate([0, 4, 2], guidance_scale=8.0, **options) != plain).any()


@pytest.mark.one_backend
@pytest.mark.parametrize("process", PROCESSES)
def test_a_negative_condition_takes_the_place_of_no_condition(priors, process):
    prior, options = priors[process], {"num_steps": 4, "seed": 1, "guidance_scale": 3.0}
    classes = [0, 4, 2]
    plain = prior.generate(classes, num_steps=4, seed=1)
    same = prior.generate(classes, negative_condition=classes, **options)
    assert (same == plain).mean() > 0.98  # guided away from itself: nothing changes
    other = prior.generate(classes, negative_condition=[1, 1, 1], **options)
    assert (other != prior.generate(classes, **options)).any()


@pytest.mark.parametrize("process, sampler", SAMPLERS)
def test_inpainting_keeps_what_the_mask_leaves_out(priors, process, sampler):
    prior, tokens, mask = priors[process], random_tokens(), np.zeros((3, *GRID), bool)
    mask[:, 1:3, 2:5] = True
    options = {"tokens": tokens, "sampler": sampler, "num_steps": 4, "seed": 1}
    drawn = prior.generate([0, 4, 2], mask=mask, **options)
    np.testing.assert_array_equal(drawn[~mask], tokens[~mask])
    assert (drawn[mask] != tokens[mask]).any()
    nothing = prior.generate([0, 4, 2], mask=np.zeros_like(mask), **options)
    np.testing.assert_array_equal(nothing, tokens)


@pytest.mark.one_backend
def test_the_confidence_sampler_never_changes_a_fixed_token(priors, monkeypatch):
    """Watched inside the loop: what is unmasked after a step is the same after the next."""
    process, seen = priors["discrete"].process, []

    class Watched(ConfidenceSampler):
        def step(self, process, now, noised, *rest):
            after = super().step(process, now, noised, *rest)
            seen.append(tuple(map(ops.convert_to_numpy, (noised, after))))
            return after

    monkeypatch.setattr(
        "keras_regvq.models.priors.diffusion.process.ops.fori_loop",
        lambda lower, upper, body, state: _python_loop(lower, upper, body, state),
    )
    mask = np.ones((2, LENGTH), bool)
    arrays = process.sampling_arrays(Watched(), mask, 5, np.random.default_rng(0))
    batch = {"tokens": np.zeros((2, LENGTH), "int32"), "mask": mask}
    batch = {**batch, "temperature": np.ones(2, "float32"), **arrays}
    batch = keras.tree.map_structure(ops.convert_to_tensor, batch)
    batch["condition"] = ops.convert_to_tensor([0, 4], "int32")
    with _without_gradients():
        result = process.sample(Watched(), denoiser(priors["discrete"], batch), batch)
    assert len(seen) == 5
    for before, after in seen:
        fixed = before != CODES
        np.testing.assert_array_equal(after[fixed], before[fixed])
    left = [(after == CODES).sum(axis=1) for _, after in seen]
    expected = [int(LENGTH * np.cos(np.pi / 2 * i / 5) + 1e-6) for i in range(1, 6)]
    np.testing.assert_array_equal(left, np.stack([expected, expected], axis=1))
    assert (ops.convert_to_numpy(result) < CODES).all()


def _python_loop(lower, upper, body, state):
    for index in range(lower, upper):
        state = body(index, state)
    return state


def _without_gradients():
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()
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


@pytest.fixture
def traced(monkeypatch):
    """A list that grows by one at each trace of a compiled function."""
    traced, original = [], inference._FunctionModel.call

    def counting(self, inputs):
        traced.append(1)
        return original(self, inputs)

    monkeypatch.setattr(inference._FunctionModel, "call", counting)
    return traced


def traces_once(traced, calls):
    """Whether the calls after the first traced nothing; PyTorch traces nothing at all."""
    for number, call in enumerate(calls):
        call()
        if number == 0:
            first = len(traced)
    return len(traced) == (len(calls) * first if keras.backend.backend() == "torch" else first)


def test_calls_of_equal_shape_compile_once(traced):
    prior, options = make_diffusion_prior(), {"num_samples": 2, "num_steps": 3}
    assert traces_once(
        traced,
        [
            lambda: prior.generate(seed=0, temperature=1.0, **options),
            lambda: prior.generate(seed=1, temperature=0.7, sampler="ancestral", **options),
            lambda: prior.generate(seed=2, temperature=1.3, sampler=AncestralSampler(), **options),
        ],
    )
    assert len(prior._samplers) == 1


@pytest.mark.one_backend
def test_samplers_that_differ_in_their_coefficients_alone_compile_once(traced):
    prior, options = make_diffusion_prior("gaussian"), {"num_samples": 2, "num_steps": 3, "seed": 0}
    assert traces_once(
        traced,
        [
            lambda: prior.generate(**options),
            lambda: prior.generate(sampler="ddim", **options),
            lambda: prior.generate(sampler=DPMSolverSampler(), **options),
        ],
    )
    assert len(prior._samplers) == 1
    prior.generate(sampler=DDIMSampler(0.3), **options)
    prior.generate(sampler="ddim", eta=0.7, **options)
    assert len(prior._samplers) == 2  # noise in each step, too


@pytest.mark.one_backend
@pytest.mark.parametrize("process, sampler", SAMPLERS)
def test_a_sampler_is_given_by_name_as_an_object_or_as_method(priors, process, sampler):
    prior, options = priors[process], {"num_steps": 4, "seed": 1}
    expected = prior.generate([0, 4, 2], sampler=sampler, **options)
    by_object = prior.generate([0, 4, 2], sampler=OBJECTS[sampler], **options)
    np.testing.assert_array_equal(by_object, expected)
    as_method = prior.generate([0, 4, 2], method=sampler, **options)
    np.testing.assert_array_equal(as_method, expected)


@pytest.mark.one_backend
def test_a_sampler_of_a_users_own_decides_each_step(priors):
    """Half of the tokens are drawn in each of two steps, in raster order."""

    class RasterSampler(ConfidenceSampler):
        def step(self, process, now, noised, prediction, clean, previous):
            masked = noised == process.codebook_size
            drawn = ops.cumsum(ops.cast(masked, "int32"), axis=-1) <= LENGTH // 2
            return ops.where(masked & drawn, clean, noised)

    prior = priors["discrete"]
    sampled = prior.generate([0, 4], sampler=RasterSampler(), num_steps=2, seed=1, temperature=0)
    embedded = prior.embed_condition(ops.convert_to_tensor([0, 4], "int32"))
    tokens = np.full((2, LENGTH), CODES, "int32")
    # As many masks as the cosine leaves; at most nine of ten are masks at time 1.
    shares = [1.0, int(LENGTH * np.cos(np.pi / 4)) / LENGTH]
    for half, share in zip(np.split(np.arange(LENGTH), 2), shares, strict=True):
        times = np.full(2, min(share / 0.9, 1.0), "float32")
        logits = prior.denoise(*map(ops.convert_to_tensor, (tokens, times)), *embedded)
        tokens[:, half] = ops.convert_to_numpy(logits).argmax(axis=-1)[:, half]
    np.testing.assert_array_equal(sampled.reshape(2, -1), tokens)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "process, arguments, named",
    [
        ("discrete", {"sampler": "ddim"}, "'ancestral', 'confidence'"),
        ("gaussian", {"sampler": "ancestral"}, "'dpm_solver\\+\\+', 'ddim'"),
        ("discrete", {"num_steps": 13}, "num_timesteps=12"),
        ("discrete", {"num_steps": 0}, "num_steps"),
        ("gaussian", {"temperature": 0.5}, "for discrete priors"),
        ("discrete", {"sampler": DDIMSampler()}, "for a gaussian process"),
        ("discrete", {"sampler": 3}, "sampler"),
        ("discrete", {"sampler": "ancestral", "method": "ancestral"}, "method"),
        ("discrete", {"method": "ddim"}, "`method`.*'ancestral', 'confidence'"),
        ("gaussian", {"eta": 0.5}, "eta"),
        ("gaussian", {"sampler": DDIMSampler(0.2), "eta": 0.5}, "eta"),
        ("gaussian", {"sampler": "ddim", "eta": 2}, "eta"),
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

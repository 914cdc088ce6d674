"""Sampling a diffusion prior in parts, to show what it has so far."""

import functools

import numpy as np
from keras import ops

from keras_regvq.models.batched_function import BatchedFunction
from keras_regvq.models.priors.diffusion.guidance import denoiser

_PARTS = 10


def draw_in_parts(prior, sampler, batch, top_k, on_step):
    """The tokens (B, L) that sampling at once gives, with `on_step` called after each part.

    Args:
        prior: DiffusionPrior.
        sampler, batch, top_k: what its `generate` has made of its arguments.
        on_step: function of the number of steps done and the clean tokens (B, h, w) as the network
            then takes them to be.
    """
    count, steps = batch["steps"]["times"].shape
    length = part_length(steps)
    key = ("parts", sampler.trace_key(), top_k, *sorted(batch), *sorted(batch["steps"]))
    if key not in prior._samplers:
        function = functools.partial(_take_part, prior, sampler, top_k)
        prior._samplers[key] = BatchedFunction(prior, function, loops=True)
    rows, state = batch["steps"], np.stack([batch["start"], np.zeros_like(batch["start"])], 1)
    for start in range(0, steps, length):
        now = {name: values[:, start : start + length] for name, values in rows.items()}
        state = prior._samplers[key]({**batch, "state": state, "steps": now}, count)
        on_step(start + length, _tokens(prior, batch, state[:, 1]).reshape(count, *prior.grid))
    return _tokens(prior, batch, state[:, 0])


def part_length(steps):
    """The steps of a part: all parts are equally long, for one compiled function, and few."""
    return next(n for n in range(1, steps + 1) if steps % n == 0 and steps // n <= _PARTS)


def _take_part(prior, sampler, top_k, batch):
    state = batch["state"][:, 0], batch["state"][:, 1]
    state = prior.process.sample_part(sampler, denoiser(prior, batch), batch, state, top_k)
    return ops.stack(state, axis=1)


def _tokens(prior, batch, clean):
    tokens = prior.process.to_tokens(ops.convert_to_tensor(clean))
    return np.where(batch["mask"], ops.convert_to_numpy(tokens), batch["tokens"])

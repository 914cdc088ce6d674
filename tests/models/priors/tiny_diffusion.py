"""Diffusion priors small enough to sample in seconds on JAX."""

import numpy as np
from keras import ops

from keras_regvq import models
from tests.models.priors.tiny_prior import CLASSES, CODES, GRID, randomize

PROCESSES = ("discrete", "gaussian")
EMBEDDING = np.random.default_rng(5).normal(2.0, 3.0, (CODES, 6)).astype("float32")
SIZES = {"channels": 8, "channel_multipliers": (1, 2), "num_res_blocks": 1, "num_heads": 2}


def make_diffusion_prior(process="discrete", condition=None, grid=GRID, **options):
    if process == "gaussian":
        options["embedding_dim"] = EMBEDDING.shape[1]
    else:
        options.setdefault("num_timesteps", 12)
    prior = models.DiffusionPrior(
        CODES, grid, process, condition=condition, seed=0, **SIZES | options
    )
    prior.set_codebook(EMBEDDING)
    return randomize(prior)


def class_priors():
    """One prior of each process, conditioned on classes."""
    return {
        process: make_diffusion_prior(
            process, models.ClassCondition(CLASSES), condition_dropout=0.2
        )
        for process in PROCESSES
    }


def exact_denoiser(prior, shares):
    """p(x_0 | x_t) by Bayes's rule, where every position has these shares of tokens."""
    chain = prior.process.chain

    def denoise(noised, times, *rest, **options):
        alpha, beta, gamma = chain.chances(times[:, None, None] * chain.num_timesteps)
        same = ops.cast(noised[..., None] == ops.arange(CODES)[None, None], "float32")
        likelihood = ops.where(noised[..., None] == CODES, gamma, alpha * same + beta)
        return ops.log(likelihood * ops.convert_to_tensor(shares, "float32"))

    return denoise

"""Diffusion priors small enough to sample in seconds on JAX."""

import numpy as np

from keras_regvq import models
from tests.models.tiny_prior import CODES, GRID, randomize

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

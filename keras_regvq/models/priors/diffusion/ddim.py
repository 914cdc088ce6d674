"""DDIM: deterministic sampling of Gaussian diffusion, or as random as DDPM's."""

import dataclasses

import numpy as np

from keras_regvq.checks.arguments import check_number
from keras_regvq.models.priors.diffusion.cosine_schedule import alpha_sigma
from keras_regvq.models.priors.diffusion.linear_sampler import LinearSampler


@dataclasses.dataclass(frozen=True)
class DDIMSampler(LinearSampler):
    """Song et al., "Denoising Diffusion Implicit Models" (2021).

    Args:
        eta: 0 for no noise in between, 1 for that of DDPM's ancestral sampling.

    Raises:
        ValueError: for eta outside [0, 1].

    Example:
        ```python
        prior = keras_regvq.models.DiffusionPrior(
            256, (4, 4), process="gaussian", embedding_dim=8, channels=32
        )
        prior.set_codebook(np.random.default_rng(0).normal(size=(256, 8)))  # the tokenizer's
        sampler = keras_regvq.models.DDIMSampler(eta=0.5)
        tokens = prior.generate(num_samples=2, sampler=sampler, num_steps=4, seed=0)  # (2, 4, 4)
        ```
    """

    eta: float = 0.0

    def __post_init__(self):
        check_number("eta", self.eta, 0, 1)

    def table(self, times):
        return ddim_table(times, self.eta)


def ddim_table(times, eta=0.0):
    """Coefficients of DDIM, equation 16 of the paper: see `LinearSampler.table`."""
    alpha, sigma = alpha_sigma(np.asarray(times, "float64"))
    (a, a_next), (s, s_next) = (alpha[:-1], alpha[1:]), (sigma[:-1], sigma[1:])
    fresh = eta * s_next / s * np.sqrt(np.maximum(1.0 - (a / a_next) ** 2, 0.0))
    c_x = np.sqrt(np.maximum(s_next**2 - fresh**2, 0.0)) / s
    table = [c_x, a_next - a * c_x, np.zeros_like(a), fresh]
    return np.stack(table, axis=-1).astype("float32")

"""DPM-Solver++: Gaussian diffusion sampled in few steps, by a solver of second order."""

import dataclasses

import numpy as np

from keras_regvq.models.priors.diffusion.cosine_schedule import alpha_sigma
from keras_regvq.models.priors.diffusion.linear_sampler import LinearSampler


@dataclasses.dataclass(frozen=True)
class DPMSolverSampler(LinearSampler):
    """DPM-Solver++(2M) of Lu et al., "DPM-Solver++" (2022), algorithm 2.

    Example:
        ```python
        prior = keras_regvq.models.DiffusionPrior(
            256, (4, 4), process="gaussian", embedding_dim=8, channels=32
        )
        prior.set_codebook(np.random.default_rng(0).normal(size=(256, 8)))  # the tokenizer's
        sampler = keras_regvq.models.DPMSolverSampler()  # as sampler="dpm_solver++", the default
        tokens = prior.generate(num_samples=2, sampler=sampler, num_steps=4, seed=0)  # (2, 4, 4)
        ```
    """

    def table(self, times):
        return dpm_solver_table(times)


def dpm_solver_table(times):
    """Coefficients of DPM-Solver++(2M): see `LinearSampler.table`.

    The first step is of first order, and so is the last if it ends at time 0, where the log-SNR
    is infinite: there the prediction itself is the result.
    """
    times = np.asarray(times, "float64")
    alpha, sigma = alpha_sigma(times)
    with np.errstate(divide="ignore"):
        log_snr = np.log(alpha) - np.log(sigma)
    rows, previous = [], None
    for step in range(len(times) - 1):
        rise = log_snr[step + 1] - log_snr[step]  # h of the paper
        c_d = -alpha[step + 1] * np.expm1(-rise)
        second = 0.0
        if previous is not None and np.isfinite(rise):
            second = c_d * rise / (2.0 * previous)  # 1 / (2 r), r = previous / rise
        rows.append([sigma[step + 1] / sigma[step], c_d + second, -second, 0.0])
        previous = rise
    return np.array(rows, "float32")

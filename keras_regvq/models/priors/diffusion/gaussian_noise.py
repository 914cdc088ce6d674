"""The Gaussian process of latent diffusion: its cosine schedule and its samplers.

At time s in [0, 1] a clean latent z is alpha z + sigma noise, with alpha = cos(pi s / 2) and
sigma = sin(pi s / 2) (Nichol and Dhariwal, 2021). The network predicts
v = alpha noise - sigma z (Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion
Models", 2022), so that z = alpha x - sigma v.

Every sampler is a linear recurrence x <- c_x x + c_d z + c_p z_previous + c_n noise over the
predictions z of the clean latent; its coefficients depend on the times alone and are computed here,
in float64, before the compiled loop.
"""

import numpy as np
from keras import ops

LATEST = 0.999  # at 1 itself nothing is left of the latent, and its log-SNR would be infinite


def alpha_sigma(times):
    """(alpha, sigma) at times in [0, 1]: NumPy for NumPy, else a tensor."""
    library = np if isinstance(times, (np.ndarray, float)) else ops
    return library.cos(np.pi / 2 * times), library.sin(np.pi / 2 * times)


def add_noise(latents, noise, times):
    """What is left of latents (B, h, w, d) at times (B,), and the v to be predicted."""
    alpha, sigma = (value[:, None, None, None] for value in alpha_sigma(times))
    return alpha * latents + sigma * noise, alpha * noise - sigma * latents


def clean_latents(noised, velocity, times):
    """The latents (B, h, w, d) that a v predicted at times (B,) stands for."""
    alpha, sigma = (value[:, None, None, None] for value in alpha_sigma(times))
    return alpha * noised - sigma * velocity


def sampling_times(num_steps):
    """float64 (num_steps + 1,), evenly from `LATEST` to 0."""
    return np.linspace(LATEST, 0.0, num_steps + 1)


def ddim_table(times, eta=0.0):
    """Coefficients of DDIM (Song et al., "Denoising Diffusion Implicit Models", 2021).

    Args:
        times: float64 (S + 1,), falling.
        eta: 0 for no noise in between, 1 for that of DDPM's ancestral sampling.

    Returns:
        float32 (S, 4): c_x, c_d, c_p, c_n of each step.
    """
    alpha, sigma = alpha_sigma(np.asarray(times, "float64"))
    (a, a_next), (s, s_next) = (alpha[:-1], alpha[1:]), (sigma[:-1], sigma[1:])
    fresh = eta * s_next / s * np.sqrt(np.maximum(1.0 - (a / a_next) ** 2, 0.0))
    c_x = np.sqrt(np.maximum(s_next**2 - fresh**2, 0.0)) / s
    table = [c_x, a_next - a * c_x, np.zeros_like(a), fresh]
    return np.stack(table, axis=-1).astype("float32")


def dpm_solver_table(times):
    """Coefficients of DPM-Solver++(2M) (Lu et al., "DPM-Solver++", 2022, algorithm 2).

    The first step is of first order, and so is the last if it ends at time 0, where the log-SNR
    is infinite: there the prediction itself is the result.

    Args, Returns: as `ddim_table`.
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

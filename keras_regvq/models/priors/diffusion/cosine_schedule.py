"""Gaussian noise by the cosine schedule, and the velocity that a network predicts.

At time s in [0, 1] a clean latent z is alpha z + sigma noise, with alpha = cos(pi s / 2) and
sigma = sin(pi s / 2) (Nichol and Dhariwal, 2021). The network predicts
v = alpha noise - sigma z (Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion
Models", 2022), so that z = alpha x - sigma v.
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

import numpy as np
from keras import ops

from keras_regvq.models.priors.diffusion.cosine_schedule import (
    add_noise,
    alpha_sigma,
    clean_latents,
)


def test_noise_and_velocity_give_the_latents_back(rng):
    latents, noise = rng.standard_normal((2, 3, 2, 4, 5)).astype("float32")
    times = np.float32([0.1, 0.5, 0.95])
    noised, velocity = add_noise(*map(ops.convert_to_tensor, (latents, noise, times)))
    alpha, sigma = np.cos(np.pi / 2 * times), np.sin(np.pi / 2 * times)
    scale = np.sqrt(alpha**2 + sigma**2)
    np.testing.assert_allclose(scale, 1, atol=1e-6)
    expected = alpha[:, None, None, None] * latents + sigma[:, None, None, None] * noise
    np.testing.assert_allclose(ops.convert_to_numpy(noised), expected, atol=1e-6)
    back = clean_latents(noised, velocity, ops.convert_to_tensor(times))
    np.testing.assert_allclose(ops.convert_to_numpy(back), latents, atol=1e-5)


def test_the_schedule_runs_from_the_latents_to_noise():
    alpha, sigma = alpha_sigma(np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(alpha, [1, np.sqrt(0.5), 0], atol=1e-12)
    np.testing.assert_allclose(sigma, [0, np.sqrt(0.5), 1], atol=1e-12)

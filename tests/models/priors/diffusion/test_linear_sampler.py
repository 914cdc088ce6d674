import numpy as np
import pytest

from keras_regvq.models.priors.diffusion.cosine_schedule import sampling_times
from keras_regvq.models.priors.diffusion.ddim import ddim_table
from keras_regvq.models.priors.diffusion.dpm_solver import dpm_solver_table

MEAN, DEVIATION = 0.7, 0.4


def denoised(noised, time):
    """E[z | x] of z ~ N(MEAN, DEVIATION^2): what a perfect network predicts."""
    alpha, sigma = np.cos(np.pi / 2 * time), np.sin(np.pi / 2 * time)
    gain = alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2)
    return MEAN + gain * (noised - alpha * MEAN)


def exact(noised, time, end):
    """The probability flow of a Gaussian: standardized values stay as they are."""
    alpha, sigma = (
        np.cos(np.pi / 2 * np.array([time, end])),
        np.sin(np.pi / 2 * np.array([time, end])),
    )
    spread = np.sqrt(alpha**2 * DEVIATION**2 + sigma**2)
    return alpha[1] * MEAN + spread[1] / spread[0] * (noised - alpha[0] * MEAN)


def solve(table, times, noised, rng=None):
    previous = np.zeros_like(noised)
    for row, time in zip(table.astype("float64"), times, strict=False):
        clean = denoised(noised, time)
        fresh = 0.0 if rng is None else rng.standard_normal(noised.shape)
        noised = row[0] * noised + row[1] * clean + row[2] * previous + row[3] * fresh
        previous = clean
    return noised


def errors(table_of, end=0.3):
    """Largest error at time `end` with 8, 16, 32 and 64 steps, evenly in log-SNR."""
    start = np.linspace(-2, 2, 9)
    found = []
    for steps in (8, 16, 32, 64):
        ratio = np.geomspace(np.tan(np.pi / 2 * 0.9), np.tan(np.pi / 2 * end), steps + 1)
        times = np.arctan(ratio) / (np.pi / 2)
        solved = solve(table_of(times), times, start)
        found.append(np.abs(solved - exact(start, 0.9, end)).max())
    return np.array(found)


def test_dpm_solver_converges_at_second_order_and_ddim_at_first():
    second, first = errors(dpm_solver_table), errors(ddim_table)
    np.testing.assert_allclose(np.log2(second[:-1] / second[1:])[1:], 2.0, atol=0.3)
    np.testing.assert_allclose(np.log2(first[:-1] / first[1:])[1:], 1.0, atol=0.15)
    assert second[-1] < first[-1] / 40


def test_ddim_is_the_update_of_its_definition():
    times = sampling_times(7)
    alpha, sigma = np.cos(np.pi / 2 * times), np.sin(np.pi / 2 * times)
    noised, clean = 0.3, -1.1
    for eta in (0.0, 0.5, 1.0):
        for step, row in enumerate(ddim_table(times, eta)):
            a, s, a_next = alpha[step], sigma[step], alpha[step + 1]
            noise = (noised - a * clean) / s
            # Equation 16 of Song et al., with alpha^2 for their alpha.
            fresh = eta * np.sqrt((1 - a_next**2) / (1 - a**2)) * np.sqrt(1 - a**2 / a_next**2)
            expected = a_next * clean + np.sqrt(max(1 - a_next**2 - fresh**2, 0)) * noise
            np.testing.assert_allclose(row[0] * noised + row[1] * clean, expected, atol=2e-6)
            np.testing.assert_allclose(row[3], fresh, atol=1e-6)
            assert row[2] == 0


@pytest.mark.parametrize("table_of", [ddim_table, dpm_solver_table])
def test_the_last_step_ends_at_the_prediction(table_of):
    last = table_of(sampling_times(10))[-1]
    np.testing.assert_allclose(last, [0, 1, 0, 0], atol=1e-7)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_samples_of_a_perfect_network_have_the_distribution(rng, eta):
    times = sampling_times(100)
    samples = solve(ddim_table(times, eta), times, rng.standard_normal(40_000), rng)
    assert samples.mean() == pytest.approx(MEAN, abs=0.02)
    assert samples.std() == pytest.approx(DEVIATION, abs=0.04)

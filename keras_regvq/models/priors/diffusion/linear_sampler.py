"""What the samplers of Gaussian diffusion share: a linear recurrence over the predictions."""

import numpy as np

from keras_regvq.models.priors.diffusion.cosine_schedule import sampling_times
from keras_regvq.models.priors.diffusion.sampler import Sampler


class LinearSampler(Sampler):
    """Base class of x <- c_x x + c_d z + c_p z_previous + c_n noise, with z the clean latents.

    The coefficients depend on the times alone: `table` computes them in float64, before the
    compiled loop.
    """

    process = "gaussian"

    def table(self, times):
        """Coefficients of each step.

        Args:
            times: float64 (S + 1,), falling.

        Returns:
            float32 (S, 4): c_x, c_d, c_p, c_n.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement table()")

    def arrays(self, process, mask, num_steps, rng):
        count, shape = len(mask), (*process.grid, process.embedding_dim)
        times = sampling_times(num_steps)
        table = self.table(times)
        start = rng.standard_normal((count, *shape), dtype="float32")
        rows = {
            "times": np.broadcast_to(times[:-1].astype("float32"), (count, num_steps)),
            "table": np.broadcast_to(table, (count, *table.shape)),
        }
        if table[:, 3].any():
            rows["noise"] = rng.standard_normal((count, num_steps, *shape), dtype="float32")
        return start, rows

    def step(self, process, now, noised, prediction, clean, previous):
        c_x, c_d, c_p, c_n = (now["table"][:, i, None, None, None] for i in range(4))
        new = c_x * noised + c_d * clean + c_p * previous
        return new + c_n * now["noise"] if "noise" in now else new

    def trace_key(self):
        """The coefficients are arrays: all samplers with this `step` share a compiled loop."""
        return LinearSampler if type(self).step is LinearSampler.step else self

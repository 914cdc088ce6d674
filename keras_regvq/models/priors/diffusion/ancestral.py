"""Ancestral sampling of discrete diffusion: the reverse chain, over some of its steps."""

import dataclasses

import numpy as np

from keras_regvq.checks.arguments import refuse
from keras_regvq.models.priors.diffusion.sampler import Sampler


@dataclasses.dataclass(frozen=True)
class AncestralSampler(Sampler):
    """Draws x_s from q(x_s | x_t, x_0), with x_0 drawn from what the network predicts.

    Gu et al., "Vector Quantized Diffusion Model for Text-to-Image Synthesis" (2022), with their
    skipped steps: S of the chain's T steps, spread evenly.

    Example:
        ```python
        generator = keras_regvq.from_preset("text_scenes_64")
        sampler = keras_regvq.models.AncestralSampler()  # as sampler="ancestral"
        prompt = "a white lighthouse at sunset"
        generated = generator.generate(prompt, sampler=sampler, num_steps=4)  # (1, 64, 64, 3)
        ```
    """

    process = "discrete"

    def arrays(self, process, mask, num_steps, rng):
        chain, (count, length) = process.chain, mask.shape
        if num_steps > chain.num_timesteps:
            refuse("num_steps", num_steps, f"at most num_timesteps={chain.num_timesteps}")
        steps = np.round(np.linspace(chain.num_timesteps, 0, num_steps + 1))
        times = steps[:-1] / chain.num_timesteps
        table, shape = chain.reverse_table(steps), (count, num_steps, length)
        random = rng.integers(chain.codebook_size, size=(count, length))
        masked = rng.random((count, length)) >= chain.replace_share
        return np.where(masked, chain.codebook_size, random).astype("int32"), {
            "times": np.broadcast_to(times.astype("float32"), (count, num_steps)),
            "table": np.broadcast_to(table, (count, *table.shape)),
            "decision": rng.random(shape, dtype="float32"),
            "others": rng.integers(chain.codebook_size, size=shape, dtype="int32"),
        }

    def step(self, process, now, noised, prediction, clean, previous):
        return process.chain.reverse(noised, clean, now["table"], now["decision"], now["others"])

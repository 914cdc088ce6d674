"""Confidence sampling of discrete diffusion: MaskGIT's parallel decoding."""

import dataclasses

import numpy as np
from keras import ops

from keras_regvq.models.priors.diffusion.sampler import Sampler


@dataclasses.dataclass(frozen=True)
class ConfidenceSampler(Sampler):
    """Predicts all masked tokens at once, and keeps the most confident of them for good.

    The others are masked again, fewer in each step by a cosine. Confidence is the token's
    log-probability plus Gumbel noise that falls to zero over the steps. Chang et al., "MaskGIT:
    Masked Generative Image Transformer" (2022).

    Example:
        ```python
        generator = keras_regvq.from_preset("text_scenes_64")
        sampler = keras_regvq.models.ConfidenceSampler()  # as sampler="confidence"
        prompt = "a white lighthouse at sunset"
        generated = generator.generate(prompt, sampler=sampler, num_steps=4)  # (1, 64, 64, 3)
        ```
    """

    process = "discrete"

    def arrays(self, process, mask, num_steps, rng):
        chain, (count, length) = process.chain, mask.shape
        masked = mask.sum(axis=1, keepdims=True)
        share = np.cos(np.pi / 2 * np.arange(num_steps + 1) / num_steps)
        left = np.floor(masked * share + 1e-6).astype("int32")  # before each step, and after
        # The chain has as many masks at these times.
        times = left[:, :-1] / length / (1.0 - chain.replace_share)
        remaining = 1.0 - np.arange(1, num_steps + 1) / num_steps
        noise = rng.gumbel(size=(count, num_steps, length)) * remaining[None, :, None]
        return np.full(mask.shape, chain.codebook_size, "int32"), {
            "times": np.clip(times, 0.0, 1.0).astype("float32"),
            "left": left[:, 1:],
            "confidence_noise": noise.astype("float32"),
        }

    def step(self, process, now, noised, prediction, clean, previous):
        chances = ops.log_softmax(prediction)
        chances = ops.take_along_axis(chances, clean[..., None], axis=-1)[..., 0]
        masked = noised == process.chain.codebook_size
        confidence = ops.where(masked, chances + now["confidence_noise"], 1e9)
        rank = ops.argsort(ops.argsort(confidence))
        unsure = masked & (rank < now["left"][:, None])
        return ops.where(unsure | ops.logical_not(masked), noised, clean)

"""Gaussian diffusion over code embeddings: the noise, with the layers and the loss around it."""

import keras
import numpy as np
from keras import layers, ops

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.models.priors.diffusion.cosine_schedule import (
    add_noise,
    alpha_sigma,
    clean_latents,
)
from keras_regvq.models.priors.diffusion.ddim import DDIMSampler
from keras_regvq.models.priors.diffusion.dpm_solver import DPMSolverSampler
from keras_regvq.models.priors.diffusion.process import Process


@keras.saving.register_keras_serializable(package="keras_regvq")
class GaussianProcess(Process):
    """Latent diffusion on the codebook's embeddings: the network predicts v (`cosine_schedule`).

    Each of the d channels is shifted and scaled to mean 0 and variance 1 over the codebook. What
    is sampled is snapped to the nearest code.

    Args:
        embedding_dim: d.

    Raises:
        ValueError: for an embedding_dim that is no positive integer.

    Example:
        ```python
        process = keras_regvq.models.GaussianProcess(embedding_dim=8)
        prior = keras_regvq.models.DiffusionPrior(256, (4, 4), process, channels=32)
        prior.set_codebook(np.random.default_rng(0).normal(size=(256, 8)))  # the tokenizer's
        tokens = prior.generate(num_samples=2, num_steps=4, seed=0)  # int32 (2, 4, 4)
        ```
    """

    kind = "gaussian"
    samplers = {"dpm_solver++": DPMSolverSampler, "ddim": DDIMSampler}

    def __init__(self, embedding_dim, **kwargs):
        # Latents stay in float32: half precision would add noise of its own.
        super().__init__(autocast=False, **kwargs)
        self.embedding_dim = check_positive_integer("embedding_dim", embedding_dim)

    def build_for(self, codebook_size, grid, channels):
        if len(grid) == 3:
            received = f'"gaussian", for {grid[2]} tokens a position'
            refuse("process", received, '"discrete": codes do not tell which stage they are of')
        self.grid, self.length = grid, grid[0] * grid[1]
        # Zeros until `set_codebook`.
        self.codebook = self.add_weight(
            name="codebook",
            shape=(codebook_size, self.embedding_dim),
            initializer="zeros",
            dtype="float32",
            trainable=False,
            autocast=False,
        )
        self.project = layers.Dense(channels, name="project", dtype=self.dtype_policy)
        self.project.build((None, None, self.embedding_dim))
        self.head = layers.Dense(self.embedding_dim, name="head", dtype="float32")
        self.head.build((None, None, None, channels))
        self.built = True

    def set_codebook(self, codebook):
        """Take over a tokenizer's codebook (N, d)."""
        codebook = ops.convert_to_numpy(codebook)
        if codebook.shape != tuple(self.codebook.shape):
            expected = f"an array of shape {tuple(self.codebook.shape)}"
            refuse("codebook", describe(codebook), expected)
        spread = np.maximum(codebook.std(axis=0), 1e-6)
        self.codebook.assign((codebook - codebook.mean(axis=0)) / spread)

    def check_ready(self):
        if not ops.any(self.codebook != 0):
            refuse("codebook", "none yet", "set_codebook(tokenizer.quantizer.codes()) first")

    def embed(self, noised):
        """Noised latents (B, h, w, d) -> features (B, L, channels)."""
        return self.project(ops.reshape(noised, (-1, self.length, self.embedding_dim)))

    def predict(self, features, noised, times):
        """The U-Net's features (B, h, w, channels) -> v float32 (B, h, w, d)."""
        return self.head(features)

    def from_tokens(self, tokens):
        """int32 (B, L) -> (B, h, w, d)."""
        rows = ops.take(self.codebook, tokens, axis=0)
        return ops.reshape(rows, (-1, *self.grid, self.embedding_dim))

    def to_tokens(self, latents):
        """(B, h, w, d) -> int32 (B, L)."""
        latents = ops.reshape(latents, (-1, self.length, self.embedding_dim))
        codebook = ops.convert_to_tensor(self.codebook)
        scores = ops.matmul(latents, ops.transpose(codebook))
        scores = scores - ops.sum(ops.square(codebook), axis=-1) / 2.0
        return ops.cast(ops.argmax(scores, axis=-1), "int32")

    def corrupt(self, tokens, times, seed):
        """Noised latents of tokens (B, L) at times (B,), and the v to be predicted."""
        latents = self.from_tokens(tokens)
        noise = keras.random.normal(ops.shape(latents), dtype="float32", seed=seed)
        noised, velocity = add_noise(latents, noise, times)
        return {"noised": noised, "times": times, "velocity": velocity}

    def losses(self, tokens, outputs):
        """ "loss": the mean squared error of v."""
        return {"loss": ops.mean(ops.square(outputs["prediction"] - outputs["velocity"]))}

    def with_known(self, noised, known, batch, times):
        # What is kept is as noised as the rest.
        alpha, sigma = (value[:, None, None, None] for value in alpha_sigma(times))
        drawn = ops.reshape(batch["mask"], (-1, *self.grid, 1))
        return ops.where(drawn, noised, alpha * known + sigma * batch["start"])

    def clean(self, prediction, noised, batch, now, top_k):
        return clean_latents(noised, prediction, now["times"])

    def get_config(self):
        return {**super().get_config(), "embedding_dim": self.embedding_dim}

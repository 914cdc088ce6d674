"""Gaussian diffusion over code embeddings: the layers, loss and samplers of `DiffusionPrior`."""

import keras
import numpy as np
from keras import layers, ops

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.models.priors.diffusion.gaussian_noise import (
    add_noise,
    alpha_sigma,
    clean_latents,
    ddim_table,
    dpm_solver_table,
    sampling_times,
)


class GaussianProcess(layers.Layer):
    """Latent diffusion on the codebook's embeddings: the network predicts v (`gaussian_noise`).

    Each of the d channels is shifted and scaled to mean 0 and variance 1 over the codebook. What
    is sampled is snapped to the nearest code.

    Args:
        codebook_size, grid: the prior's.
        channels: of the features that the U-Net gets.
        embedding_dim: d.
    """

    logged = ()
    methods = ("dpm_solver++", "ddim")

    def __init__(self, codebook_size, grid, channels, embedding_dim, **kwargs):
        # Latents stay in float32: half precision would add noise of its own.
        super().__init__(autocast=False, **kwargs)
        self.grid, self.length, self.embedding_dim = grid, grid[0] * grid[1], embedding_dim
        # Zeros until `set_codebook`.
        self.codebook = self.add_weight(
            name="codebook",
            shape=(codebook_size, embedding_dim),
            initializer="zeros",
            dtype="float32",
            trainable=False,
            autocast=False,
        )
        self.project = layers.Dense(channels, name="project", dtype=self.dtype_policy)
        self.project.build((None, None, embedding_dim))
        self.head = layers.Dense(embedding_dim, name="head", dtype="float32")
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

    def embed(self, noised):
        """Noised latents (B, h, w, d) -> features (B, L, channels)."""
        return self.project(ops.reshape(noised, (-1, self.length, self.embedding_dim)))

    def predict(self, features, noised, times):
        """The U-Net's features (B, h, w, channels) -> v float32 (B, h, w, d)."""
        return self.head(features)

    def latents(self, tokens):
        """int32 (B, L) -> (B, h, w, d)."""
        rows = ops.take(self.codebook, tokens, axis=0)
        return ops.reshape(rows, (-1, *self.grid, self.embedding_dim))

    def nearest_tokens(self, latents):
        """(B, h, w, d) -> int32 (B, L)."""
        latents = ops.reshape(latents, (-1, self.length, self.embedding_dim))
        codebook = ops.convert_to_tensor(self.codebook)
        scores = ops.matmul(latents, ops.transpose(codebook))
        scores = scores - ops.sum(ops.square(codebook), axis=-1) / 2.0
        return ops.cast(ops.argmax(scores, axis=-1), "int32")

    def corrupt(self, tokens, times, seed):
        """Noised latents of tokens (B, L) at times (B,), and the v to be predicted."""
        latents = self.latents(tokens)
        noise = keras.random.normal(ops.shape(latents), dtype="float32", seed=seed)
        noised, velocity = add_noise(latents, noise, times)
        return {"noised": noised, "times": times, "velocity": velocity}

    def losses(self, tokens, outputs):
        """ "loss": the mean squared error of v."""
        return {"loss": ops.mean(ops.square(outputs["prediction"] - outputs["velocity"]))}

    def sampling_arrays(self, method, num_steps, mask, rng, eta=0.0):
        """What `sample` needs besides the tokens and their mask.

        Args:
            method: one of `methods`.
            num_steps: S.
            mask: bool (B, L), the tokens that are drawn.
            rng: NumPy Generator.
            eta: of `ddim_table`.
        """
        count, shape = len(mask), (*self.grid, self.embedding_dim)
        times = sampling_times(num_steps)
        table = ddim_table(times, eta) if method == "ddim" else dpm_solver_table(times)
        arrays = {
            "start": rng.standard_normal((count, *shape), dtype="float32"),
            "table": np.broadcast_to(table, (count, *table.shape)),
            "times": np.broadcast_to(times[:-1].astype("float32"), (count, num_steps)),
        }
        if table[:, 3].any():
            size = (count, num_steps, *shape)
            arrays["fresh"] = rng.standard_normal(size, dtype="float32")
        return arrays

    def sample(self, denoise, batch, top_k=None):
        """Draw the masked tokens; runs inside a compiled function.

        Args:
            denoise: maps noised latents (B, h, w, d) and times (B,) to v.
            batch: dict of "tokens" and "mask" (B, L), and what `sampling_arrays` gave.

        Returns:
            int32 (B, L).
        """
        start = batch["start"]
        known = self.latents(batch["tokens"])
        drawn = ops.reshape(batch["mask"], (-1, *self.grid, 1))

        def step(index, state):
            noised, previous = state
            times = ops.take(batch["times"], index, axis=1)
            row = ops.take(batch["table"], index, axis=1)
            # What is kept is shown to the network as noised as the rest.
            alpha, sigma = (value[:, None, None, None] for value in alpha_sigma(times))
            noised = ops.where(drawn, noised, alpha * known + sigma * start)
            clean = clean_latents(noised, denoise(noised, times), times)
            c_x, c_d, c_p, c_n = (row[:, i, None, None, None] for i in range(4))
            new = c_x * noised + c_d * clean + c_p * previous
            if "fresh" in batch:
                new = new + c_n * ops.take(batch["fresh"], index, axis=1)
            return new, clean

        steps = ops.shape(batch["times"])[1]
        latents, _ = ops.fori_loop(0, steps, step, (start, ops.zeros_like(start)))
        return ops.where(batch["mask"], self.nearest_tokens(latents), batch["tokens"])

"""Discrete diffusion over tokens: the layers, the loss and the two samplers of `DiffusionPrior`."""

import math

import keras
import numpy as np
from keras import layers, ops

from keras_regvq.models.layers.grid_positions import GridPositions
from keras_regvq.models.priors.diffusion.mask_and_replace import MaskAndReplace
from keras_regvq.models.priors.prior_training import token_loss
from keras_regvq.models.priors.token_choice import choose_tokens


class DiscreteProcess(layers.Layer):
    """Mask-and-replace diffusion (VQ-Diffusion): the network predicts the clean tokens.

    The loss is the cross-entropy of the clean tokens plus `variational_weight` times the
    variational bound on their negative log-likelihood, both in nats a token.

    Sampling is "ancestral", which follows the reverse chain over the chosen steps, or "confidence"
    (Chang et al., "MaskGIT", 2022): all masked tokens are predicted at once, the surest are kept
    for good and the others are masked again, fewer in each step by a cosine.

    Args:
        codebook_size, grid: the prior's.
        channels: of the features that the U-Net gets.
        num_timesteps, replace_share: of `MaskAndReplace`.
        variational_weight: at least 0.
    """

    logged = ("cross_entropy", "bits_per_token")
    methods = ("ancestral", "confidence")

    def __init__(
        self,
        codebook_size,
        grid,
        channels,
        num_timesteps,
        replace_share,
        variational_weight,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.chain = MaskAndReplace(codebook_size, num_timesteps, replace_share)
        self.codebook_size, self.grid = codebook_size, grid
        self.length = grid[0] * grid[1]
        self.variational_weight = variational_weight
        small = keras.initializers.RandomNormal(stddev=0.02)
        policy = {"dtype": self.dtype_policy}
        # One more than there are codes: the last entry is the mask.
        self.embedding = layers.Embedding(
            codebook_size + 1, channels, small, name="embedding", **policy
        )
        self.embedding.build()
        self.positions = GridPositions(grid, channels, name="positions", **policy)
        self.positions.build()
        # Embeddings start small, so that the optimizer's steps soon change them; but beside a fresh
        # network's features, which are about 1, they would not be seen.
        self.norm = layers.LayerNormalization(epsilon=1e-5, name="norm", **policy)
        self.norm.build((None, None, channels))
        # Logits decide what is sampled: float32 under any policy.
        self.head = layers.Dense(
            codebook_size, kernel_initializer=small, name="head", dtype="float32"
        )
        self.head.build((None, None, None, channels))
        self.built = True

    def embed(self, noised):
        """Noised tokens int32 (B, L) -> features (B, L, channels)."""
        return self.norm(self.positions(self.embedding(noised)))

    def predict(self, features, noised, times):
        """The U-Net's features (B, h, w, channels) -> logits of the clean tokens (B, L, N).

        The head says what the rest of the picture suggests; to it the logarithm of
        q(x_t | x_0 = k) is added, by Bayes's rule. So a token that is not masked is known to be
        itself or a random one from the start, and the network need not learn to copy.
        """
        logits = ops.reshape(self.head(features), (-1, self.length, self.codebook_size))
        own = self.chain.log_likelihood_ratio(times[:, None] * self.chain.num_timesteps)
        same = noised[..., None] == ops.arange(self.codebook_size, dtype="int32")
        return ops.where(same, logits + own[..., None], logits)

    def corrupt(self, tokens, times, seed):
        """Noised tokens int32 (B, L) at times (B,) in (0, 1], and the times of their steps."""
        step = ops.ceil(times * self.chain.num_timesteps)
        uniform = keras.random.uniform(ops.shape(tokens), dtype="float32", seed=seed)
        others = keras.random.randint(
            ops.shape(tokens), 0, self.codebook_size, dtype="int32", seed=seed
        )
        noised = self.chain.noise(tokens, step[:, None], uniform, others)
        return {"noised": noised, "times": step / self.chain.num_timesteps}

    def losses(self, tokens, outputs):
        """In nats "loss" and "cross_entropy"; "bits_per_token" is the bound in bits."""
        clean = ops.reshape(ops.cast(tokens, "int32"), (-1, self.length))
        logits, steps = outputs["prediction"], self.chain.num_timesteps
        cross_entropy = token_loss(tokens, logits)
        terms = self.chain.variational_terms(
            clean, outputs["noised"], ops.round(outputs["times"][:, None] * steps), logits
        )
        bound = steps * ops.mean(terms)
        return {
            "loss": cross_entropy + self.variational_weight * bound,
            "cross_entropy": cross_entropy,
            "bits_per_token": bound / math.log(2),
        }

    def sampling_arrays(self, method, num_steps, mask, rng):
        """What `sample` needs besides the tokens and their mask.

        Args:
            method: one of `methods`.
            num_steps: S.
            mask: bool (B, L), the tokens that are drawn.
            rng: NumPy Generator.
        """
        count, shape = len(mask), (len(mask), num_steps, self.length)
        arrays = {"uniform": rng.random(shape, dtype="float32")}
        if method == "ancestral":
            steps = np.round(np.linspace(self.chain.num_timesteps, 0, num_steps + 1))
            times = np.broadcast_to(steps[:-1] / self.chain.num_timesteps, (count, num_steps))
            table = self.chain.reverse_table(steps)
            random = rng.integers(self.codebook_size, size=(count, self.length))
            masked = rng.random((count, self.length)) >= self.chain.replace_share
            arrays["start"] = np.where(masked, self.codebook_size, random).astype("int32")
            arrays["table"] = np.broadcast_to(table, (count, *table.shape))
            arrays["decision"] = rng.random(shape, dtype="float32")
            arrays["others"] = rng.integers(self.codebook_size, size=shape, dtype="int32")
        else:
            masked = mask.sum(axis=1, keepdims=True)
            share = np.cos(np.pi / 2 * np.arange(num_steps + 1) / num_steps)
            left = np.floor(masked * share + 1e-6).astype("int32")  # before each step, and after
            times = left[:, :-1] / self.length / (1.0 - self.chain.replace_share)
            arrays["start"] = np.full(mask.shape, self.codebook_size, "int32")
            arrays["left"] = left[:, 1:]
            # The surest token is kept; noise, less and less of it, varies which one that is.
            remaining = 1.0 - np.arange(1, num_steps + 1) / num_steps
            noise = rng.gumbel(size=shape) * remaining[None, :, None]
            arrays["confidence_noise"] = noise.astype("float32")
        return {**arrays, "times": np.clip(times, 0.0, 1.0).astype("float32")}

    def sample(self, denoise, batch, top_k=None):
        """Draw the masked tokens; runs inside a compiled function.

        Args:
            denoise: maps noised tokens (B, L) and times (B,) to logits (B, L, N).
            batch: dict of "tokens" and "mask" (B, L), "temperature" (B,), perhaps "top_p" (B,),
                and what `sampling_arrays` gave.
            top_k: Python int or None.

        Returns:
            int32 (B, L).
        """
        tokens, mask = batch["tokens"], batch["mask"]
        settle = self._follow_the_chain if "table" in batch else self._keep_the_surest

        def step(index, noised):
            now = {
                name: ops.take(batch[name], index, axis=1)
                for name in ("times", "uniform", "table", "decision", "others")
                + ("left", "confidence_noise")
                if name in batch
            }
            logits = denoise(noised, now["times"])
            clean = self._choose(logits, now["uniform"], batch, top_k)
            return ops.where(mask, settle(noised, clean, logits, now), tokens)

        start = ops.where(mask, batch["start"], tokens)
        return ops.fori_loop(0, ops.shape(batch["times"])[1], step, start)

    def _choose(self, logits, uniform, batch, top_k):
        rows = {}
        for name in ("temperature", "top_p"):
            if name in batch:
                rows[name] = ops.reshape(
                    ops.broadcast_to(batch[name][:, None], ops.shape(uniform)), (-1,)
                )
        logits = ops.reshape(logits, (-1, self.codebook_size))
        chosen = choose_tokens(logits, ops.reshape(uniform, (-1,)), top_k=top_k, **rows)
        return ops.reshape(chosen, (-1, self.length))

    def _follow_the_chain(self, noised, clean, logits, now):
        return self.chain.reverse(noised, clean, now["table"], now["decision"], now["others"])

    def _keep_the_surest(self, noised, clean, logits, now):
        chances = ops.take_along_axis(ops.log_softmax(logits), clean[..., None], axis=-1)[..., 0]
        masked = noised == self.codebook_size
        confidence = ops.where(masked, chances + now["confidence_noise"], 1e9)
        rank = ops.argsort(ops.argsort(confidence))
        unsure = masked & (rank < now["left"][:, None])
        return ops.where(unsure | ops.logical_not(masked), noised, clean)

"""Discrete diffusion over tokens: mask and replace, with the layers and the loss around it."""

import math

import keras
from keras import layers, ops

from keras_regvq.checks.arguments import check_number, check_positive_integer
from keras_regvq.models.layers.grid_positions import GridPositions
from keras_regvq.models.priors.diffusion.ancestral import AncestralSampler
from keras_regvq.models.priors.diffusion.confidence import ConfidenceSampler
from keras_regvq.models.priors.diffusion.mask_and_replace import MaskAndReplace
from keras_regvq.models.priors.diffusion.process import Process
from keras_regvq.models.priors.prior_training import token_loss
from keras_regvq.models.priors.token_choice import choice_arrays, choose_tokens


@keras.saving.register_keras_serializable(package="keras_regvq")
class DiscreteProcess(Process):
    """Mask-and-replace diffusion (VQ-Diffusion): the network predicts the clean tokens.

    The loss is the cross-entropy of the clean tokens plus `variational_weight` times the
    variational bound on their negative log-likelihood, both in nats a token.

    Args:
        num_timesteps: T, steps of the chain (`mask_and_replace.MaskAndReplace`).
        replace_share: share of the noised tokens that are replaced by random ones in the end, in
            [0, 0.99]; the others are masked.
        variational_weight: at least 0.

    Raises:
        ValueError: for an argument that does not fit.

    Example:
        ```python
        process = keras_regvq.models.DiscreteProcess(replace_share=0.0)  # masks alone
        prior = keras_regvq.models.DiffusionPrior(256, (4, 4), process, channels=32)
        tokens = prior.generate(num_samples=2, num_steps=4, seed=0)  # int32 (2, 4, 4)
        ```
    """

    kind = "discrete"
    samplers = {"ancestral": AncestralSampler, "confidence": ConfidenceSampler}
    logged = ("cross_entropy", "bits_per_token")

    def __init__(self, num_timesteps=100, replace_share=0.1, variational_weight=0.01, **kwargs):
        super().__init__(**kwargs)
        self.num_timesteps = check_positive_integer("num_timesteps", num_timesteps)
        self.replace_share = check_number("replace_share", replace_share, 0, 0.99)
        self.variational_weight = check_number("variational_weight", variational_weight)

    def build_for(self, codebook_size, grid, channels):
        self.chain = MaskAndReplace(codebook_size, self.num_timesteps, self.replace_share)
        self.codebook_size, self.length = codebook_size, math.prod(grid)
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

        The head gives what the rest of the image suggests; to it the logarithm of
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

    def choice_arrays(self, count, temperature, top_k, top_p):
        return choice_arrays(self.codebook_size, count, temperature, top_k, top_p)

    def step_arrays(self, mask, num_steps, rng):
        count, length = mask.shape
        return {"uniform": rng.random((count, num_steps, length), dtype="float32")}

    def from_tokens(self, tokens):
        return tokens

    def to_tokens(self, clean):
        return clean

    def with_known(self, noised, known, batch, times):
        return ops.where(batch["mask"], noised, known)

    def clean(self, prediction, noised, batch, now, top_k):
        rows, uniform = {}, now["uniform"]
        for name in ("temperature", "top_p"):
            if name in batch:
                rows[name] = ops.reshape(
                    ops.broadcast_to(batch[name][:, None], ops.shape(uniform)), (-1,)
                )
        logits = ops.reshape(prediction, (-1, self.codebook_size))
        chosen = choose_tokens(logits, ops.reshape(uniform, (-1,)), top_k=top_k, **rows)
        return ops.reshape(chosen, (-1, self.length))

    def get_config(self):
        return {
            **super().get_config(),
            "num_timesteps": self.num_timesteps,
            "replace_share": self.replace_share,
            "variational_weight": self.variational_weight,
        }

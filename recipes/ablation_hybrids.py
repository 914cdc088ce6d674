"""Reg-VQ's parts on top of another quantizer: its mask and its prior, with cosine codes.

Both parts need a distribution over the codes at each position. Cosine codes have one,
softmax(scale * cos). FSQ has none: each channel is rounded to one of a few fixed levels, all codes
are within reach from the start, and a prior would have no logits to work on but made-up ones.
"""

import keras
from keras import ops

from keras_regvq.backend.random_state import SeedGenerator
from keras_regvq.backend.replicas import mean_over_replicas
from keras_regvq.quantizers import VectorQuantizer
from keras_regvq.quantizers.codebook import unit_length
from keras_regvq.quantizers.mask import draw_mask
from keras_regvq.quantizers.noise import gumbel_noise
from keras_regvq.quantizers.straight_through import (
    code_frequencies,
    sample_codes,
    softmax_statistics,
)

RUNNING_DECAY = 0.99
TINY = 1e-10


class MaskedVectorQuantizer(VectorQuantizer):
    """`VectorQuantizer` with cosine codes, and with Reg-VQ's mask, its prior, or both.

    q = softmax(scale * cos(feature, code)). While it trains, the codes of masked positions are
    drawn from q; the decoder's gradient still passes unchanged from code to feature, and the other
    losses, averages and replacement are those of the nearest codes. The loss "prior" is
    prior_weight * KL(mean of q over the batch || target).

    Args:
        mask_ratio: share of sampled positions, in [0, 1].
        prior_weight: 0 is no prior.
        prior_target: "uniform", as in Reg-VQ, or "running", a moving average of how often the
            nearest codes occur: what the data themselves use.
        scale: of the cosines, in q.
        seed, and all other arguments: as `VectorQuantizer` takes them; but the rotation trick and a
            projection are not for masked positions.
    """

    def __init__(
        self, codebook_size, embedding_dim, mask_ratio, prior_weight, prior_target, scale, **kwargs
    ):
        super().__init__(codebook_size, embedding_dim, **{**kwargs, "normalize": True})
        self.mask_ratio, self.prior_weight = mask_ratio, prior_weight
        self.prior_target, self.scale = prior_target, scale
        self.seed_generator = SeedGenerator(self.seed)
        if prior_weight:
            self.loss_names = (*self.loss_names, "prior")

    def build(self, input_shape):
        super().build(input_shape)
        if self.prior_target == "running":
            self.running = self.add_weight(
                name="running_frequencies", shape=(1, self.codebook_size), trainable=False,
                initializer=keras.initializers.Constant(1 / self.codebook_size),
            )  # fmt: skip

    def choose_codes(self, features, training):
        result = super().choose_codes(features, training)
        compared = unit_length(features)
        kernel = self.scale * ops.transpose(ops.stop_gradient(self.compared_codes()))
        logits = (compared, kernel, ops.zeros((self.codebook_size,), "float32"))
        if self.prior_weight:
            prior = self.prior_weight * self.divergence(logits, result["tokens"], training)
            result["losses"] = {**result["losses"], "prior": prior}
        return self.sampled_where_masked(logits, result) if training else result

    def divergence(self, logits, nearest, training):
        """KL(mean q || target), in nats, after the running target has learned of the tokens."""
        posterior = batch_mean(softmax_statistics(*logits, self.block_size)[0])
        target = 1 / self.codebook_size
        if self.prior_target == "running":
            target = ops.copy(self.running)
            if training:
                seen = batch_mean(code_frequencies(nearest, self.codebook_size))
                self.running.assign(RUNNING_DECAY * target + (1 - RUNNING_DECAY) * seen)
        log_ratio = ops.log(posterior + TINY) - ops.log(target + TINY)
        return ops.sum(posterior * log_ratio)

    def sampled_where_masked(self, logits, result):
        if not self.mask_ratio:
            return result
        compared, kernel, _ = logits
        nearest = result["tokens"]
        batch, length = ops.shape(nearest)
        mask = draw_mask(self.mask_ratio, batch, length, self.seed_generator)
        noise = gumbel_noise(
            batch, length, self.codebook_size, self.block_size, self.seed_generator
        )
        sampled = sample_codes(*logits, noise, self.block_size)["sampled"]
        tokens = ops.where(mask, sampled, nearest)
        codes = ops.take(ops.transpose(kernel) / self.scale, tokens, axis=0)
        return {
            **result,
            "embeddings": codes + compared - ops.stop_gradient(compared),
            "tokens": tokens,
            "best_tokens": nearest,
            "mask": mask,
        }


def batch_mean(frequencies):
    """(1, N) of (B, N): the mean over a whole batch."""
    return mean_over_replicas(ops.mean(frequencies, axis=0, keepdims=True))

"""Reg-VQ's quantizer: masked stochastic sampling with a prior on how often codes are used."""

import keras
from keras import ops

from keras_regvq.backend.replicas import mean_over_replicas
from keras_regvq.checks.arguments import check_choice, check_number
from keras_regvq.losses.prior import kl_to_uniform
from keras_regvq.quantizers.mask import draw_mask, rounded_share
from keras_regvq.quantizers.noise import gumbel_noise
from keras_regvq.quantizers.sampling import SamplingQuantizer
from keras_regvq.quantizers.straight_through import (
    sample_codes,
    softmax_statistics,
    straight_through_lookup,
)


@keras.saving.register_keras_serializable(package="keras_regvq")
class RegularizedQuantizer(SamplingQuantizer):
    """Regularized quantization: stochastic at masked positions, deterministic elsewhere.

    While it trains, each image draws a fresh mask of exactly round(mask_ratio * h * w) positions.
    There the code is argmax(l + g), g ~ Gumbel(0, 1), with the gradient of
    softmax((l + g) / temperature); elsewhere it is argmax(l) with the gradient of softmax(l).
    The loss "prior" is prior_weight * KL(P_post || uniform), P_post the mean use of the codes;
    there is no codebook or commitment loss. At inference every position takes argmax(l).
    mask_ratio 0 is a straight-through argmax, 1 the hard Gumbel-softmax. Zhang et al.,
    "Regularized Vector Quantization for Tokenized Image Synthesis" (CVPR 2023), 3.1 and 3.2.

    Args:
        codebook_size: N, the number of codes.
        embedding_dim: d, the width of a code; with linear logits the features may have another.
        mask_ratio: share of sampled positions, in [0, 1].
        temperature: of the Gumbel-softmax's gradient; above 0.
        prior_weight: weight of the prior loss; 0 turns it off.
        prior_scope: "image", P_post over the positions of an image, as in the paper, or "batch",
            over all positions of the batch. With h * w < N the image's KL cannot reach zero.
        prior_estimator: "hard", P_post of the chosen codes with straight-through gradients, as
            in the paper, or "soft", the mean of softmax(l). The two defaults are not the
            paper's: all settings kept all codes in use, "soft" with higher fidelity, and "batch"
            suits images of fewer positions than codes (results/ablation).
        codebook_initializer: a Keras initializer, default normal with deviation 1.
        seed: makes the draws repeatable on one backend.
        block_size: bounds the memory: logits exist for about block_size codes a position at
            a time. Above it positions are worked on in turns, and draw other numbers.
        logits: "linear", as in the paper, or "cosine": scale * cos(features, codes), which learns
            faster; the features must then be as wide as the codes.
        scale: of the cosine.
        dither: length of the offsets that cosine logits see the features of length 1 moved by,
            another one at each of 4 x 4 places; 0.3 gives colours between those of the codes. The
            tokens then depend on their place, and a prior has more to learn.

    Example:
        ```python
        quantizer = keras_regvq.quantizers.RegularizedQuantizer(codebook_size=256, embedding_dim=8)
        result = quantizer(keras.random.normal((2, 4, 4, 8)), training=True)
        result["tokens"].shape  # (2, 4, 4)
        prior_loss = result["losses"]["prior"]  # a scalar, weighted
        keras.ops.sum(result["mask"], axis=(1, 2))  # 6 of each image's 16 positions were sampled
        ```
    """

    loss_names = ("prior",)

    def __init__(
        self,
        codebook_size,
        embedding_dim,
        mask_ratio=0.4,
        temperature=1.0,
        prior_weight=0.01,
        prior_scope="batch",
        prior_estimator="soft",
        codebook_initializer=None,
        seed=None,
        block_size=1024,
        logits="linear",
        scale=10.0,
        dither=0.0,
        **kwargs,
    ):
        super().__init__(
            codebook_size,
            embedding_dim,
            temperature,
            codebook_initializer,
            seed,
            block_size,
            logits,
            scale,
            dither,
            **kwargs,
        )
        self.mask_ratio = check_number("mask_ratio", mask_ratio, 0, 1)
        self.prior_weight = check_number("prior_weight", prior_weight)
        self.prior_scope = check_choice("prior_scope", prior_scope, ("image", "batch"))
        self.prior_estimator = check_choice("prior_estimator", prior_estimator, ("hard", "soft"))

    def choose_codes(self, features, training):
        result = self.choose_masked(features) if training else self.look_up_best(features)
        posterior = result.pop("frequencies")
        if self.prior_estimator == "soft":
            posterior = softmax_statistics(features, *self.scores(), self.block_size)[0]
        if self.prior_scope == "batch":
            posterior = mean_over_replicas(ops.mean(posterior, axis=0, keepdims=True))
        prior = self.prior_weight * ops.mean(kl_to_uniform(posterior))
        return {**result, "losses": {"prior": prior}}

    def choose_masked(self, features):
        """p = (1 - M) * onehot(argmax l) + M * onehot(argmax(l + g)), and z = p Z.

        p is never formed: a token says where its 1 is. Where M = 0 there is no noise and the
        temperature is 1, so that the backward pass sees softmax((l + M g) / temperature).
        """
        batch, length = ops.shape(features)[:2]
        mask = draw_mask(self.mask_ratio, batch, length, self.seed_generator)  # M
        if self.codebook_size > self.block_size:
            return self.choose_apart(features, mask)
        noise = [self.gumbel_noise(batch, length)[0] * ops.cast(mask, "float32")[..., None]]  # M g
        best, sampled = self.largest_logits(features, noise)  # argmax l, argmax(l + M g)
        tokens = ops.where(mask, sampled, best)  # p
        temperature = ops.where(mask, ops.copy(self.temperature), 1.0)
        embeddings, frequencies = self.straight_through(features, tokens, noise, temperature)
        return {
            "embeddings": embeddings,  # p Z
            "frequencies": frequencies,  # the mean of p over an image
            "tokens": tokens,
            "best_tokens": best,
            "mask": mask,
        }

    def choose_apart(self, features, mask):
        """The same for a codebook above block_size: positions of M = 1, then all others.

        Drawing noise takes a third of the time there, and is left out where M = 0.
        """
        length = ops.shape(features)[1]
        order = ops.argsort(ops.cast(ops.logical_not(mask), "int32"), axis=-1)
        rows = ops.take_along_axis(features, order[..., None], axis=1)
        count = rounded_share(self.mask_ratio, length)
        parts = []
        for part, sampled in ((rows[:, :count], True), (rows[:, count:], False)):
            share = self.mask_ratio if sampled else 1 - self.mask_ratio
            if share > 0 and part.shape[1] != 0:
                parts.append(self.choose_part(part, share, sampled))
        result = {name: [part[name] for part in parts] for name in parts[0]}
        frequencies = sum(result.pop("frequencies")) / ops.cast(length, "float32")
        place = ops.argsort(order, axis=-1)
        for name, values in result.items():
            index = ops.reshape(place, (*ops.shape(place), *(1,) * (len(values[0].shape) - 2)))
            result[name] = ops.take_along_axis(ops.concatenate(values, axis=1), index, axis=1)
        return {**result, "frequencies": frequencies, "mask": mask}

    def choose_part(self, features, share, sampled):
        """As `look_up`, of a share of the positions, all of them sampled or none; no mean is taken.

        A smaller part has fewer chunks, so that one is as large as without parts.
        """
        batch, length = ops.shape(features)[:2]
        block_size = round(self.block_size / share)
        noise = temperature = None
        if sampled:
            noise = gumbel_noise(batch, length, self.codebook_size, block_size, self.seed_generator)
            temperature = ops.ones((batch, length), "float32") * self.temperature
        scores = self.scores()
        tokens = sample_codes(features, *scores, noise, block_size)
        embeddings, frequencies = straight_through_lookup(
            features,
            *scores,
            self.codes(),
            tokens["sampled"],
            noise,
            temperature,
            block_size,
        )
        return {
            "embeddings": embeddings,
            "frequencies": frequencies * ops.cast(length, "float32"),
            "tokens": tokens["sampled"],
            "best_tokens": tokens["best"],
        }

    def get_config(self):
        return {
            **super().get_config(),
            "mask_ratio": self.mask_ratio,
            "prior_weight": self.prior_weight,
            "prior_scope": self.prior_scope,
            "prior_estimator": self.prior_estimator,
        }

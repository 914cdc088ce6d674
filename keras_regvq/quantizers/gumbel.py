"""Gumbel-VQ's quantizer: every position sampled."""

import math

import keras
from keras import ops

from keras_regvq.checks.arguments import check_number
from keras_regvq.quantizers.sampling import SamplingQuantizer
from keras_regvq.quantizers.straight_through import softmax_statistics


@keras.saving.register_keras_serializable(package="keras_regvq")
class GumbelQuantizer(SamplingQuantizer):
    """Hard Gumbel-softmax at every position, with a KL term to the uniform distribution.

    While it trains, the code of a position is argmax(l + g), g ~ Gumbel(0, 1), with the gradient
    of softmax((l + g) / temperature). The loss "kl" is kl_weight times the mean over positions of
    KL(softmax(l) || uniform). At inference the code is argmax(l): no noise. Usually the
    temperature is annealed (`keras_regvq.training.TemperatureSchedule`). Jang et al. (2017);
    Gumbel-VQ as in VQ-GAN and DALL-E.

    Args:
        codebook_size: N, the number of codes.
        embedding_dim: d, the width of a code; with linear logits the features may have another.
        temperature: of the Gumbel-softmax's gradient; above 0.
        kl_weight: weight of the KL term.
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
        quantizer = keras_regvq.quantizers.GumbelQuantizer(codebook_size=256, embedding_dim=8)
        result = quantizer(keras.random.normal((2, 4, 4, 8)), training=True)
        result["tokens"].shape  # (2, 4, 4)
        kl = result["losses"]["kl"]  # a scalar, weighted
        quantizer.temperature.assign(0.5)  # as `TemperatureSchedule` does while it trains
        ```
    """

    loss_names = ("kl",)

    def __init__(
        self,
        codebook_size,
        embedding_dim,
        temperature=1.0,
        kl_weight=5e-4,
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
        self.kl_weight = check_number("kl_weight", kl_weight)

    def choose_codes(self, features, training):
        if training:
            result = self.look_up(features, self.gumbel_noise(*ops.shape(features)[:2]))
            result["mask"] = ops.ones_like(result["tokens"], dtype="bool")
        else:
            result = self.look_up_best(features)
        del result["frequencies"]
        negative_entropy = softmax_statistics(features, *self.scores(), self.block_size)[1]
        # KL(q || uniform) = log N + sum q log q
        kl = ops.mean(negative_entropy) + math.log(self.codebook_size)
        return {**result, "losses": {"kl": self.kl_weight * kl}}

    def get_config(self):
        return {**super().get_config(), "kl_weight": self.kl_weight}

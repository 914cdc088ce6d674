"""Quantizers that predict a distribution over the codes and draw from it while they train."""

import keras
from keras import ops

from keras_regvq.backend.random_state import SavesRandomState, SeedGenerator
from keras_regvq.checks.arguments import check_choice, check_number, check_seed, refuse
from keras_regvq.quantizers.codebook import CodebookQuantizer, unit_length
from keras_regvq.quantizers.dither import dither_offsets
from keras_regvq.quantizers.noise import gumbel_noise
from keras_regvq.quantizers.straight_through import (
    best_codes,
    code_frequencies,
    sample_codes,
    straight_through_lookup,
)


class SamplingQuantizer(SavesRandomState, CodebookQuantizer):
    """Base class: token logits of features, and straight-through sampling from them.

    Owns the codebook, what makes logits of features, the temperature and the random state. Logits
    are "linear", l = features W + b, codes being free of them, or "cosine",
    l = scale * cos(features, codes), with codes of length 1: a code is likely where the features
    already are like it, so that little has to be learned before pictures are right (the cosine of
    Yu et al., "Vector-quantized Image Modeling with Improved VQGAN", 2022), and can be dithered
    (`dither.dither_offsets`). The temperature is a variable, so that a callback can change it
    between steps without retracing; the random state is saved with the weights, so that a resumed
    run draws what the uninterrupted one would have drawn. A subclass's `choose_codes` calls
    `look_up` with `gumbel_noise` while it trains, or the steps of it, and `look_up_best` at
    inference.

    Example:
        ```python
        # Hard Gumbel-softmax at every position, and nothing that keeps the codes in use.
        class NoLossQuantizer(keras_regvq.quantizers.SamplingQuantizer):
            def choose_codes(self, features, training):
                if not training:
                    return self.look_up_best(features)
                batch, length, _ = keras.ops.shape(features)
                return self.look_up(features, self.gumbel_noise(batch, length))

        quantizer = NoLossQuantizer(codebook_size=64, embedding_dim=8, temperature=0.5)
        result = quantizer(keras.random.normal((2, 4, 4, 8)), training=True)
        result["tokens"].shape  # (2, 4, 4)
        ```
    """

    def __init__(
        self,
        codebook_size,
        embedding_dim,
        temperature=1.0,
        codebook_initializer=None,
        seed=None,
        block_size=1024,
        logits="linear",
        scale=10.0,
        dither=0.0,
        **kwargs,
    ):
        if codebook_initializer is None:
            codebook_initializer = keras.initializers.RandomNormal(stddev=1.0)
        super().__init__(codebook_size, embedding_dim, codebook_initializer, block_size, **kwargs)
        self.initial_temperature = check_number("temperature", temperature)
        if self.initial_temperature == 0:
            refuse("temperature", temperature, "a number above 0")
        self.temperature = self.initial_temperature  # a variable once it is built
        self.logits = check_choice("logits", logits, ("linear", "cosine"))
        self.scale = check_number("scale", scale)
        if self.scale == 0:
            refuse("scale", scale, "a number above 0")
        self.dither = check_number("dither", dither)
        if dither and logits != "cosine":
            refuse("dither", dither, '0 with "linear" logits')
        self.same_width = logits == "cosine"
        self.seed = check_seed("seed", seed)
        self.seed_generator = SeedGenerator(seed)

    def build(self, input_shape):
        super().build(input_shape)
        if self.logits == "linear":
            self.kernel = self.add_weight(
                name="logits_kernel",
                shape=(input_shape[-1], self.codebook_size),
                initializer="glorot_uniform",
                autocast=False,
            )
            self.bias = self.add_weight(
                name="logits_bias", shape=(self.codebook_size,), initializer="zeros", autocast=False
            )
        self.temperature = self.add_weight(
            name="temperature",
            shape=(),
            initializer=keras.initializers.Constant(self.initial_temperature),
            trainable=False,
            autocast=False,
        )

    def flatten_grid(self, features):
        rows, grid = super().flatten_grid(features)
        if self.logits == "cosine":
            rows = unit_length(rows)
        if self.dither:
            offsets = dither_offsets(rows.shape[-1], *grid[1:])
            rows = unit_length(rows + self.dither * ops.reshape(offsets, (1, -1, rows.shape[-1])))
        return rows, grid

    def exported_tokens(self, features):
        rows, grid = self.flatten_grid(features)
        return ops.reshape(super().exported_tokens(rows), grid)

    def codes(self):
        codes = ops.copy(self.codebook)
        return unit_length(codes) if self.logits == "cosine" else codes

    def scores(self):
        if self.logits == "cosine":
            bias = ops.zeros((self.codebook_size,), "float32")
            return self.scale * ops.transpose(self.codes()), bias
        # Copies, since a custom gradient on TensorFlow takes tensors and refuses variables.
        return ops.copy(self.kernel), ops.copy(self.bias)

    def gumbel_noise(self, batch, length):
        """Gumbel(0, 1) noise g for (B, L) positions; `noise[i]`, (B, l, N), is chunk i's."""
        return gumbel_noise(batch, length, self.codebook_size, self.block_size, self.seed_generator)

    def largest_logits(self, features, noise):
        """argmax l and argmax(l + noise) of (B, L, C) features: two of int32 (B, L)."""
        tokens = sample_codes(features, *self.scores(), noise, self.block_size)
        return tokens["best"], tokens["sampled"]

    def straight_through(self, features, tokens, noise, temperature):
        """The codes of tokens (B, L), with the gradient of softmax((l + noise) / temperature).

        Args:
            features: (B, L, C).
            tokens: int32 (B, L), chosen with the same noise.
            noise: what `gumbel_noise` gave, masked or not, or None.
            temperature: (B, L).

        Returns:
            embeddings (B, L, d), and frequencies (B, N) of the codes in each image.
        """
        return straight_through_lookup(
            features, *self.scores(), self.codes(), tokens, noise, temperature, self.block_size
        )

    def look_up(self, features, noise):
        """Choose codes for (B, L, C) features: argmax of the logits, or of the noisy logits.

        Returns:
            dict of "embeddings" (B, L, d) and "frequencies" (B, N) with straight-through
            gradients, "tokens" and "best_tokens" int32 (B, L).
        """
        best, tokens = self.largest_logits(features, noise)
        temperature = ops.ones_like(tokens, dtype="float32")
        if noise is not None:
            temperature = temperature * self.temperature
        embeddings, frequencies = self.straight_through(features, tokens, noise, temperature)
        return {
            "embeddings": embeddings,
            "frequencies": frequencies,
            "tokens": tokens,
            "best_tokens": best,
        }

    def look_up_best(self, features):
        """`look_up` without noise and without the backward pass's needs: for inference."""
        tokens = best_codes(features, *self.scores(), self.block_size)
        return {
            "embeddings": ops.take(self.codes(), tokens, axis=0),
            "frequencies": code_frequencies(tokens, self.codebook_size),
            "tokens": tokens,
        }

    def get_config(self):
        return {
            **super().get_config(),
            "temperature": self.initial_temperature,
            "seed": self.seed,
            "logits": self.logits,
            "scale": self.scale,
            "dither": self.dither,
        }

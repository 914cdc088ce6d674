"""Quantizers that predict a distribution over the codes and draw from it while they train."""

import keras
from keras import ops

from keras_regvq.backend.random_state import SavesRandomState
from keras_regvq.checks.arguments import check_number, refuse
from keras_regvq.quantizers.chunked import (
    best_codes,
    chunk_count,
    chunk_length,
    code_frequencies,
    sample_codes,
    straight_through_lookup,
)
from keras_regvq.quantizers.quantizer import Quantizer


class SamplingQuantizer(SavesRandomState, Quantizer):
    """Base class: token logits l = features W + b, and straight-through sampling from them.

    Owns the codebook, the 1x1 projection to logits, the temperature and the random state. The
    temperature is a variable, so that a callback can change it between steps without retracing;
    the random state is saved with the weights, so that a resumed run draws what the
    uninterrupted one would have drawn.
    """

    def __init__(
        self,
        codebook_size,
        embedding_dim,
        temperature=1.0,
        codebook_initializer=None,
        seed=None,
        block_size=4096,
        **kwargs,
    ):
        if codebook_initializer is None:
            codebook_initializer = keras.initializers.RandomNormal(stddev=1.0)
        super().__init__(codebook_size, embedding_dim, codebook_initializer, block_size, **kwargs)
        self.initial_temperature = check_number("temperature", temperature)
        if self.initial_temperature == 0:
            refuse("temperature", temperature, "a number above 0")
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        super().build(input_shape)
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

    def scores(self):
        # Copies, since a custom gradient on TensorFlow takes tensors and refuses variables.
        return ops.copy(self.kernel), ops.copy(self.bias)

    def gumbel_noise(self, batch, length):
        """Gumbel(0, 1) noise for (B, L) positions; `noise[i]`, (B, l, N), is chunk i's."""
        chunks = chunk_count(self.codebook_size, self.block_size, length)
        shape = (batch, chunk_length(length, chunks), self.codebook_size)
        if chunks == 1:
            return [draw_gumbel(shape, self.seed_generator)]
        return RedrawnNoise(shape, [self.seed_generator.next() for _ in range(chunks)])

    def look_up(self, features, noise):
        """Choose codes for (B, L, C) features: argmax of the logits, or of the noisy logits.

        Returns:
            dict of "embeddings" (B, L, d) and "frequencies" (B, N) with straight-through
            gradients, "tokens" and "best_tokens" int32 (B, L).
        """
        kernel, bias = self.scores()
        temperature = 1.0 if noise is None else ops.copy(self.temperature)
        tokens = sample_codes(features, kernel, bias, noise, self.block_size)
        embeddings, frequencies = straight_through_lookup(
            features,
            kernel,
            bias,
            ops.copy(self.codebook),
            tokens["sampled"],
            noise,
            temperature,
            self.block_size,
        )
        return {
            "embeddings": embeddings,
            "frequencies": frequencies,
            "tokens": tokens["sampled"],
            "best_tokens": tokens["best"],
        }

    def look_up_best(self, features):
        """`look_up` without noise and without the backward pass's needs: for inference."""
        tokens = best_codes(features, *self.scores(), self.block_size)
        return {
            "embeddings": ops.take(ops.convert_to_tensor(self.codebook), tokens, axis=0),
            "frequencies": code_frequencies(tokens, self.codebook_size),
            "tokens": tokens,
            "best_tokens": tokens,
        }

    def get_config(self):
        return {
            **super().get_config(),
            "temperature": self.initial_temperature,
            "seed": self.seed,
        }


class RedrawnNoise:
    """Gumbel noise that is not kept: `noise[i]` draws chunk i's again, equal at each use.

    Args:
        shape: of each chunk's noise.
        seeds: list of what a `SeedGenerator` gave, one a chunk.
    """

    def __init__(self, shape, seeds):
        self.shape, self.seeds = shape, ops.stack(seeds)

    def __getitem__(self, index):
        return draw_gumbel(self.shape, DrawnSeed(self.seeds[index]))


class DrawnSeed(keras.random.SeedGenerator):
    """A seed that was drawn before, in the form that `keras.random` takes: it has no state."""

    def __init__(self, seed):
        self.seed = seed

    def next(self, ordered=True):
        return self.seed


def draw_gumbel(shape, seed_generator):
    """Standard Gumbel noise -log(-log u), float32."""
    uniform = keras.random.uniform(shape, dtype="float32", seed=seed_generator)
    # Some backends draw an exact 0; the largest float32 below 1 bounds the other side.
    uniform = ops.clip(uniform, 1e-20, 1.0 - 2.0**-24)
    return -ops.log(-ops.log(uniform))

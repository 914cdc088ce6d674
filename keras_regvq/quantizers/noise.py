"""Gumbel noise for every position and code, in the chunks of `chunked.py`.

`noise[i]` (B, l, N) is what the logits of chunk i get added. A codebook above block_size keeps
seeds in place of noise, and draws it again at each use.
"""

import keras
from keras import ops

from keras_regvq.quantizers.chunked import chunk_count, chunk_length


def gumbel_noise(batch, length, codebook_size, block_size, seed_generator):
    """Gumbel(0, 1) noise of (B, L) positions and N codes, drawn at once or chunk by chunk."""
    chunks = chunk_count(codebook_size, block_size, length)
    shape = (batch, chunk_length(length, chunks), codebook_size)
    if chunks == 1:
        return [draw_gumbel(shape, seed_generator)]
    return RedrawnNoise(shape, [seed_generator.next() for _ in range(chunks)])


def draw_gumbel(shape, seed_generator):
    """Standard Gumbel noise -log(-log u), float32."""
    uniform = keras.random.uniform(shape, dtype="float32", seed=seed_generator)
    # Some backends draw an exact 0; the largest float32 below 1 bounds the other side.
    uniform = ops.clip(uniform, 1e-20, 1.0 - 2.0**-24)
    return -ops.log(-ops.log(uniform))


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

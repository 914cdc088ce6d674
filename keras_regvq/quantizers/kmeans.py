"""k-means: codes as the means of the features that are nearest to them."""

from keras import ops

from keras_regvq.quantizers.codebook import distance_scores, unit_length
from keras_regvq.quantizers.straight_through import best_codes


def kmeans(rows, codes, iterations, normalize=False, block_size=1024):
    """Lloyd's iterations: each code becomes the mean of the rows that it is nearest to.

    A code that is nearest to none stays. With `normalize` rows and codes are of length 1, and so
    are the means: spherical k-means. Lloyd, "Least squares quantization in PCM" (1982).

    Args:
        rows: float (P, d).
        codes: float (N, d), to begin with.
        iterations: how many.
        normalize: whether all are of length 1.
        block_size: bounds the memory, as in `CodebookQuantizer`.

    Returns:
        the codes, (N, d). No gradient flows.
    """
    rows, codes = ops.stop_gradient(rows), ops.stop_gradient(codes)
    size = codes.shape[0]

    def step(_, codes):
        tokens = best_codes(rows[None], *distance_scores(codes), block_size)[0]
        counts, sums = counts_and_sums(rows, tokens, size)
        means = sums / ops.maximum(counts, 1.0)[:, None]
        means = unit_length(means) if normalize else means
        return ops.where(counts[:, None] > 0, means, codes)

    return ops.fori_loop(0, iterations, step, codes)


def counts_and_sums(rows, tokens, codebook_size):
    """How many rows (P, d) chose each code by tokens (P,), and their sums: (N,) and (N, d)."""
    ones = ops.ones_like(rows[:, 0])
    return tuple(
        ops.segment_sum(values, tokens, num_segments=codebook_size) for values in (ones, rows)
    )

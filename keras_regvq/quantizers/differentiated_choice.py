"""The pass of IBQ over all logits: choice, softmax and entropies at once, a chunk at a time."""

from keras import ops

from keras_regvq.quantizers.chunked import (
    affine_gradients,
    chunk_count,
    cut,
    each_chunk,
    join,
    map_rows,
    put,
    with_bias,
    with_ones,
)
from keras_regvq.quantizers.straight_through import into_chosen_rows, pack, through_softmax, unpack


def choose_with_statistics(features, codes, temperature, block_size):
    """The best codes, whose choice is differentiated, and two summaries of a sharper softmax.

    With logits l_n = feature . code_n, p = onehot(argmax l) with the gradient of softmax(l), and
    r = softmax(l / temperature): one product for the logits in each direction, where a function
    for each would take one each.

    Args:
        features: (B, L, d). codes: (N, d).
        temperature: a number above 0.

    Returns:
        tokens int32 (B, L), argmax l; embeddings (B, L, d), p @ codes; mean_probabilities (B, N),
        the mean of r over the L positions; negative_entropy (B, L), sum_n r_n log r_n (nats).
    """
    size, (batch, length) = codes.shape[0], ops.shape(features)[:2]
    chunks = chunk_count(size, block_size, length)
    bias = ops.zeros((size,), "float32")
    tokens, means, negative_entropy = _choose(features, codes, bias, temperature, chunks)

    def forward(features, codes):
        embeddings = ops.take(codes, tokens, axis=0)
        results = embeddings, means, negative_entropy

        def backward(*inputs, upstream=None):
            upstream = inputs[0] if upstream is None else upstream
            d_embeddings, d_means, d_entropy = unpack(upstream, [ops.shape(x) for x in results])
            kernel = ops.transpose(codes)
            from_embeddings, from_entropy = (
                cut(gradients, chunks) for gradients in (d_embeddings, d_entropy[..., None])
            )
            from_means = d_means[:, None] / ops.cast(length, "float32")

            def logits_gradient(index, logits):
                slopes = map_rows(from_embeddings[index], kernel)
                of_choice = through_softmax(ops.softmax(logits, axis=-1), slopes)
                sharp = sharpened(logits, temperature)
                # In place of log r, which differs by a constant: that falls out.
                slopes = from_means + from_entropy[index] * sharp
                r = ops.softmax(sharp, axis=-1)
                return of_choice + through_softmax(r, slopes) / temperature

            d_features, d_kernel, _ = affine_gradients(
                features, kernel, bias, chunks, logits_gradient
            )
            d_codes = ops.transpose(d_kernel) + into_chosen_rows(d_embeddings, tokens, size)
            return d_features, d_codes

        return pack(results), backward

    packed = ops.custom_gradient(forward)(features, codes)
    shapes = (batch, length, codes.shape[1]), (batch, size), (batch, length)
    return (tokens, *unpack(packed, shapes))


def _choose(features, codes, bias, temperature, chunks):
    """Tokens, mean probabilities and negative entropies, without gradient."""
    features, codes = map(ops.stop_gradient, (features, codes))
    batch, length = ops.shape(features)[:2]
    rows, weights = cut(with_ones(features), chunks), with_bias(ops.transpose(codes), bias)

    def choose(index, sums):
        logits = map_rows(rows[index], weights)
        best = ops.cast(ops.argmax(logits, axis=-1), "int32")
        sharp = sharpened(logits, temperature)
        r = ops.softmax(sharp, axis=-1)
        # The last channel is 1 at a position, and 0 where a chunk was filled up.
        counted = ops.transpose(rows[index][..., -1:], (0, 2, 1))
        # log r = sharp + log r of the best code, where sharp is 0.
        entropy = ops.sum(r * sharp, axis=-1) + ops.log(ops.max(r, axis=-1))
        return (
            put(sums[0], index, best),
            sums[1] + ops.matmul(counted, r),
            put(sums[2], index, entropy),
        )

    empty = ops.zeros_like(rows[..., 0])
    means = ops.zeros((batch, 1, codes.shape[0]), "float32")
    start = ops.cast(empty, "int32"), means, empty
    tokens, total, entropy = each_chunk(choose, start, chunks)
    return join(tokens, length), total[:, 0] / ops.cast(length, "float32"), join(entropy, length)


def sharpened(logits, temperature):
    """(l - max l) / temperature: at most 0, whatever the features' length."""
    return (logits - ops.max(logits, axis=-1, keepdims=True)) / temperature

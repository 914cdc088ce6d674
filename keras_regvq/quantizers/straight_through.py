"""Choosing codes by their logits, and gradients that pass straight through the choice.

The logits of a position are an affine map of its features, l = features @ kernel + bias. Their
softmax over all positions and codes is never held at once (`chunked.py`).

Two functions differentiate, `straight_through_lookup` and `softmax_statistics`. In both, the
gradient that arrives at the probabilities p = softmax(y) is some a (P, N) that is cheap to form
a chunk at a time, and becomes dL/dy = p * (a - sum_n p_n a_n).
"""

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

# Codes that `first_largest` looks at together, and of how many pieces on that is faster.
PIECE, FEWEST_PIECES = 256, 16


def best_codes(features, kernel, bias, block_size):
    """argmax_n of the logits `features @ kernel + bias`; the lowest index wins a tie.

    Args:
        features: (B, L, C). kernel: (C, N). bias: (N,).

    Returns:
        int32 (B, L). No gradient flows.
    """
    return sample_codes(features, kernel, bias, None, block_size)["best"]


def sample_codes(features, kernel, bias, noise, block_size):
    """The best codes and the sampled ones, without gradient.

    Args:
        features: (B, L, C). kernel: (C, N). bias: (N,).
        noise: None, or noise[i] is what chunk i's logits get added, (B, l, N).

    Returns:
        dict of "best" int32 (B, L), argmax of the logits, and "sampled" int32 (B, L), argmax of
        the noisy logits.
    """
    features, kernel, bias = map(ops.stop_gradient, (features, kernel, bias))
    length = ops.shape(features)[1]
    chunks = chunk_count(kernel.shape[1], block_size, length)
    rows, weights = cut(with_ones(features), chunks), with_bias(kernel, bias)
    names = ("best",) if noise is None else ("best", "sampled")

    def choose(index, tokens):
        logits = map_rows(rows[index], weights)
        chosen = [first_largest(logits)]
        if noise is not None:
            chosen.append(first_largest(logits + noise[index]))
        return tuple(
            put(all_tokens, index, chunk) for all_tokens, chunk in zip(tokens, chosen, strict=True)
        )

    empty = ops.zeros_like(rows[..., 0], dtype="int32")
    tokens = each_chunk(choose, (empty,) * len(names), chunks)
    tokens = {name: join(chunk, length) for name, chunk in zip(names, tokens, strict=True)}
    return {"sampled": tokens["best"], **tokens}


def first_largest(logits):
    """argmax_n of logits (B, l, N), int32; the lowest index wins a tie.

    Of many codes the largest of each piece, then the piece, then the place in it: XLA's argmax on a
    CPU takes the numbers one by one, 0.29 s for 2,048 x 65,536 of them where this takes 0.03.
    """
    *rest, size = ops.shape(logits)
    if size % PIECE or size < FEWEST_PIECES * PIECE:
        return ops.cast(ops.argmax(logits, axis=-1), "int32")
    pieces = ops.reshape(logits, (*rest, size // PIECE, PIECE))
    piece = ops.argmax(ops.max(pieces, axis=-1), axis=-1, keepdims=True)
    found = ops.squeeze(ops.take_along_axis(pieces, piece[..., None], axis=-2), -2)
    return ops.cast(ops.squeeze(piece, -1) * PIECE + ops.argmax(found, axis=-1), "int32")


def straight_through_lookup(
    features, kernel, bias, codebook, tokens, noise, temperature, block_size
):
    """Look up the sampled codes; let the backward pass see the softmax.

    Forward, with p the one-hot rows of the sampled codes: embeddings = p @ codebook and
    frequencies = mean_L p. Backward: the codebook gets the gradient of the hard p (a scatter-add
    into the chosen rows); features, kernel and bias get that of softmax((logits + noise) /
    temperature), put in p's place (straight-through). Reg-VQ, section 3.2 (arXiv 2303.06424).

    Args:
        features: (B, L, C). kernel: (C, N). bias: (N,). codebook: (N, d).
        tokens: int32 (B, L), what `sample_codes` chose with the same noise.
        noise: None or the noise given to `sample_codes`.
        temperature: (B, L), divides the noisy logits of each position; None for 1.

    Returns:
        embeddings (B, L, d), frequencies (B, N) of the codes in each image.
    """
    size, length = codebook.shape[0], ops.shape(features)[1]
    chunks = chunk_count(size, block_size, length)

    def forward(features, kernel, bias, codebook):
        embeddings = ops.take(codebook, tokens, axis=0)
        frequencies = code_frequencies(tokens, size, embeddings.dtype)

        def backward(*inputs, upstream=None):
            upstream = inputs[0] if upstream is None else upstream
            shapes = ops.shape(embeddings), ops.shape(frequencies)
            d_embeddings, d_frequencies = unpack(upstream, shapes)
            d_codebook = into_chosen_rows(d_embeddings, tokens, size)
            sharpness = None if temperature is None else cut(1.0 / temperature[..., None], chunks)
            from_embeddings = cut(d_embeddings, chunks)
            from_frequencies = d_frequencies[:, None] / ops.cast(length, "float32")
            codes = ops.transpose(codebook)

            def logits_gradient(index, logits):
                if noise is not None:
                    logits = logits + noise[index]
                # Multiplied, not divided by: where a chunk is filled up there are zeros.
                scaled = logits if sharpness is None else logits * sharpness[index]
                slopes = map_rows(from_embeddings[index], codes) + from_frequencies
                d_scaled = through_softmax(ops.softmax(scaled, axis=-1), slopes)
                return d_scaled if sharpness is None else d_scaled * sharpness[index]

            return (*affine_gradients(features, kernel, bias, chunks, logits_gradient), d_codebook)

        return pack((embeddings, frequencies)), backward

    packed = ops.custom_gradient(forward)(features, kernel, bias, codebook)
    batch = ops.shape(features)[0]
    return unpack(packed, ((batch, length, codebook.shape[1]), (batch, size)))


def softmax_statistics(features, kernel, bias, block_size):
    """Two differentiable summaries of q = softmax(features @ kernel + bias).

    Args:
        features: (B, L, C). kernel: (C, N). bias: (N,).

    Returns:
        mean_probabilities (B, N), the mean of q over the L positions, and
        negative_entropy (B, L), sum_n q_n log q_n (nats).
    """
    size, (batch, length) = kernel.shape[1], ops.shape(features)[:2]
    chunks = chunk_count(size, block_size, length)

    def forward(features, kernel, bias):
        rows, weights = cut(with_ones(features), chunks), with_bias(kernel, bias)

        def summarize(index, sums):
            log_q = ops.log_softmax(map_rows(rows[index], weights), axis=-1)
            q = ops.exp(log_q)
            # The last channel is 1 at a position, and 0 where a chunk was filled up.
            counted = ops.transpose(rows[index][..., -1:], (0, 2, 1))
            total = sums[0] + ops.matmul(counted, q)
            return total, put(sums[1], index, ops.sum(q * log_q, axis=-1))

        empty = ops.zeros((batch, 1, size), "float32"), ops.zeros_like(rows[..., 0])
        total, entropy = each_chunk(summarize, empty, chunks)
        means = ops.squeeze(total, 1) / ops.cast(length, "float32")
        negative_entropy = join(entropy, length)

        def backward(*inputs, upstream=None):
            upstream = inputs[0] if upstream is None else upstream
            d_means, d_entropy = unpack(upstream, (ops.shape(means), ops.shape(negative_entropy)))
            from_means = d_means[:, None] / ops.cast(length, "float32")
            from_entropy = cut(d_entropy[..., None], chunks)

            def logits_gradient(index, logits):
                log_q = ops.log_softmax(logits, axis=-1)
                # The constant of d(q log q)/dq = log q + 1 falls out in p * (a - sum p a).
                return through_softmax(ops.exp(log_q), from_means + from_entropy[index] * log_q)

            return affine_gradients(features, kernel, bias, chunks, logits_gradient)

        return pack((means, negative_entropy)), backward

    packed = ops.custom_gradient(forward)(features, kernel, bias)
    return unpack(packed, ((batch, size), (batch, length)))


def code_frequencies(tokens, codebook_size, dtype="float32"):
    """Share of each image's positions that use each code: (B, L) -> (B, N), rows sum to 1."""
    batch, length = ops.shape(tokens)
    image = ops.arange(batch, dtype="int32")[:, None]
    counts = ops.segment_sum(
        ops.ones((batch * length,), dtype),
        ops.reshape(image * codebook_size + tokens, (-1,)),
        num_segments=batch * codebook_size,
    )
    return ops.reshape(counts, (batch, codebook_size)) / ops.cast(ops.maximum(length, 1), dtype)


def through_softmax(p, slopes):
    """dL/dy for p = softmax(y) and slopes = dL/dp."""
    return p * (slopes - ops.sum(p * slopes, axis=-1, keepdims=True))


def into_chosen_rows(gradients, tokens, size):
    """(N, d): the gradients (B, L, d) of the rows that tokens (B, L) chose, added up."""
    rows = ops.reshape(gradients, (-1, gradients.shape[-1]))
    return ops.segment_sum(rows, ops.reshape(tokens, (-1,)), num_segments=size)


# ops.custom_gradient takes functions of one output on PyTorch: several travel as one vector.
def pack(tensors):
    """One vector of all numbers of some tensors."""
    return ops.concatenate([ops.reshape(tensor, (-1,)) for tensor in tensors])


def unpack(packed, shapes):
    """The tensors, of these shapes, that `pack` packed."""
    tensors, start = [], 0
    for shape in shapes:
        size = 1
        for side in shape:
            size = size * side
        end = start + size
        tensors.append(ops.reshape(packed[start:end], shape))
        start = end
    return tensors

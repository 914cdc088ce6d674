"""Arithmetic between every position and every code, a block of codes at a time.

With P positions and N codes the logits, their softmax and their gradients are (P, N) each: at
N = 65,536 that is half a gigabyte a time for 2,048 positions. Nothing here holds more than
(P, block_size) at once (but for the noise): the forward pass keeps only running maxima and log
normalizers, and the backward pass computes the logits again, as attention kernels do.

Two functions differentiate, `straight_through_lookup` and `softmax_statistics`. In both, the
gradient that arrives at the probabilities p = softmax(y) is some a (P, N) that is cheap to form
a block at a time, and becomes dL/dy = p * (a - sum_n p_n a_n).
"""

import functools

from keras import ops


def code_blocks(codebook_size, block_size):
    """Split range(codebook_size) into consecutive (start, stop) pairs."""
    starts = range(0, codebook_size, block_size)
    return [(start, min(start + block_size, codebook_size)) for start in starts]


def logits_block(features, kernel, bias, start, stop):
    """Logits of the codes in [start, stop): (B, L, stop - start)."""
    return ops.matmul(features, kernel[:, start:stop]) + bias[start:stop]


def best_codes(features, kernel, bias, block_size):
    """argmax_n of the logits `features @ kernel + bias`; the lowest index wins a tie.

    Args:
        features: (B, L, C). kernel: (C, N). bias: (N,).

    Returns:
        int32 (B, L). No gradient flows.
    """
    return sample_codes(features, kernel, bias, None, 1.0, block_size)["best"]


def sample_codes(features, kernel, bias, noise, temperature, block_size):
    """Scan the codebook once, forward, without gradient.

    Args:
        features: (B, L, C). kernel: (C, N). bias: (N,).
        noise: None, or a list of one (B, L, block) tensor a block, added to the logits.
        temperature: divides the noisy logits in the normalizer.

    Returns:
        dict of "best" int32 (B, L), argmax of the logits; "sampled" int32 (B, L), argmax of the
        noisy logits; "log_normalizer" (B, L), logsumexp of the noisy logits / temperature.
    """
    features, kernel, bias = map(ops.stop_gradient, (features, kernel, bias))
    best = sampled = log_normalizer = None
    for index, (start, stop) in enumerate(code_blocks(kernel.shape[1], block_size)):
        logits = logits_block(features, kernel, bias, start, stop)
        best = _keep_larger(best, logits, start)
        if noise is not None:
            logits = logits + noise[index]
            sampled = _keep_larger(sampled, logits, start)
        block_normalizer = ops.logsumexp(logits / temperature, axis=-1)
        if log_normalizer is None:
            log_normalizer = block_normalizer
        else:
            log_normalizer = ops.logaddexp(log_normalizer, block_normalizer)
    return {
        "best": best[1],
        "sampled": best[1] if noise is None else sampled[1],
        "log_normalizer": log_normalizer,
    }


def _keep_larger(running, logits, start):
    """Merge a block into the running (maximum, argmax); the earlier code wins a tie."""
    token = ops.argmax(logits, axis=-1)
    value = ops.squeeze(ops.take_along_axis(logits, token[..., None], axis=-1), -1)
    token = ops.cast(token, "int32") + start
    if running is None:
        return value, token
    larger = value > running[0]
    return ops.where(larger, value, running[0]), ops.where(larger, token, running[1])


def straight_through_lookup(features, kernel, bias, codebook, scan, noise, temperature, block_size):
    """Look up the sampled codes; let the backward pass see the softmax.

    Forward, with p the one-hot rows of the sampled codes: embeddings = p @ codebook and
    frequencies = mean_L p. Backward: the codebook gets the gradient of the hard p (a scatter-add
    into the chosen rows); features, kernel and bias get that of softmax((logits + noise) /
    temperature), put in p's place (straight-through). Reg-VQ, section 3.2 (arXiv 2303.06424).

    Args:
        features: (B, L, C). kernel: (C, N). bias: (N,). codebook: (N, d).
        scan: what `sample_codes` gave for the same arguments.
        noise: None or the list given to `sample_codes`.

    Returns:
        embeddings (B, L, d), frequencies (B, N) of the codes in each image.
    """
    tokens, log_normalizer = scan["sampled"], scan["log_normalizer"]
    size, length = codebook.shape[0], ops.shape(features)[1]

    def forward(features, kernel, bias, codebook):
        embeddings = ops.take(codebook, tokens, axis=0)
        frequencies = code_frequencies(tokens, size, embeddings.dtype)

        def backward(*inputs, upstream=None):
            upstream = inputs[0] if upstream is None else upstream
            d_embeddings, d_frequencies = _unpack(upstream, embeddings, frequencies)
            d_codebook = ops.segment_sum(
                ops.reshape(d_embeddings, (-1, codebook.shape[1])),
                ops.reshape(tokens, (-1,)),
                num_segments=size,
            )

            def upstream_block(start, stop, log_probabilities):
                block = ops.matmul(d_embeddings, ops.transpose(codebook[start:stop]))
                return block + d_frequencies[:, None, start:stop] / ops.cast(length, "float32")

            softmax = (noise, temperature, log_normalizer, block_size)
            return (
                *_softmax_gradients(features, kernel, bias, softmax, upstream_block),
                d_codebook,
            )

        return _pack(embeddings, frequencies), backward

    packed = ops.custom_gradient(forward)(features, kernel, bias, codebook)
    batch = ops.shape(features)[0]
    return _unpack_shapes(packed, (batch, length, codebook.shape[1]), (batch, size))


def softmax_statistics(features, kernel, bias, block_size):
    """Two differentiable summaries of q = softmax(features @ kernel + bias).

    Args:
        features: (B, L, C). kernel: (C, N). bias: (N,).

    Returns:
        mean_probabilities (B, N), the mean of q over the L positions, and
        negative_entropy (B, L), sum_n q_n log q_n (nats).
    """
    size, length = kernel.shape[1], ops.shape(features)[1]
    blocks = code_blocks(size, block_size)
    log_normalizer = sample_codes(features, kernel, bias, None, 1.0, block_size)["log_normalizer"]

    def forward(features, kernel, bias):
        means, negative_entropy = [], 0.0
        for start, stop in blocks:
            log_q = logits_block(features, kernel, bias, start, stop) - log_normalizer[..., None]
            q = ops.exp(log_q)
            means.append(ops.mean(q, axis=1))
            negative_entropy = negative_entropy + ops.sum(q * log_q, axis=-1)
        means = ops.concatenate(means, axis=-1)

        def backward(*inputs, upstream=None):
            upstream = inputs[0] if upstream is None else upstream
            d_means, d_entropy = _unpack(upstream, means, negative_entropy)

            def upstream_block(start, stop, log_q):
                # The constant of d(q log q)/dq = log q + 1 falls out in p * (a - sum p a).
                block = d_means[:, None, start:stop] / ops.cast(length, "float32")
                return block + d_entropy[..., None] * log_q

            softmax = (None, 1.0, log_normalizer, block_size)
            return _softmax_gradients(features, kernel, bias, softmax, upstream_block)

        return _pack(means, negative_entropy), backward

    packed = ops.custom_gradient(forward)(features, kernel, bias)
    batch = ops.shape(features)[0]
    return _unpack_shapes(packed, (batch, size), (batch, length))


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


def _softmax_gradients(features, kernel, bias, softmax, upstream_block):
    """Gradients for features, kernel and bias of p = softmax((logits + noise) / temperature).

    `upstream_block(start, stop, log_p)` gives dL/dp, (B, L, stop - start). Two passes over the
    codebook: sum_n p_n a_n first, since every block of the second pass needs the whole sum.
    """
    noise, temperature, log_normalizer, block_size = softmax
    blocks = code_blocks(kernel.shape[1], block_size)

    def probabilities_and_upstream(index):
        start, stop = blocks[index]
        logits = logits_block(features, kernel, bias, start, stop)
        if noise is not None:
            logits = (logits + noise[index]) / temperature
        log_p = logits - log_normalizer[..., None]
        return ops.exp(log_p), upstream_block(start, stop, log_p)

    if len(blocks) == 1:  # everything fits: do not compute it twice
        probabilities_and_upstream = functools.cache(probabilities_and_upstream)

    expected_upstream = 0.0
    for index in range(len(blocks)):
        p, a = probabilities_and_upstream(index)
        expected_upstream = expected_upstream + ops.sum(p * a, axis=-1, keepdims=True)

    d_features, d_kernel, d_bias = 0.0, [], []
    rows = ops.reshape(features, (-1, kernel.shape[0]))
    for index, (start, stop) in enumerate(blocks):
        p, a = probabilities_and_upstream(index)
        d_logits = p * (a - expected_upstream)
        if noise is not None:
            d_logits = d_logits / temperature
        d_features = d_features + ops.matmul(d_logits, ops.transpose(kernel[:, start:stop]))
        d_logits = ops.reshape(d_logits, (-1, stop - start))
        d_kernel.append(ops.matmul(ops.transpose(rows), d_logits))
        d_bias.append(ops.sum(d_logits, axis=0))
    return d_features, ops.concatenate(d_kernel, axis=1), ops.concatenate(d_bias)


# ops.custom_gradient takes functions of one output on PyTorch: two tensors travel as one vector.
def _pack(first, second):
    return ops.concatenate([ops.reshape(first, (-1,)), ops.reshape(second, (-1,))])


def _unpack(packed, first_like, second_like):
    return _unpack_shapes(packed, ops.shape(first_like), ops.shape(second_like))


def _unpack_shapes(packed, first_shape, second_shape):
    split = 1
    for side in first_shape:
        split = split * side
    return ops.reshape(packed[:split], first_shape), ops.reshape(packed[split:], second_shape)

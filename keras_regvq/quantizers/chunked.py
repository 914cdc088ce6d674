"""Logits of every position and every code, some positions at a time.

With P positions and N codes the logits, their softmax and their gradients are (P, N) each: at
N = 65,536 that is half a gigabyte a time for 2,048 positions. Nothing here holds more than about
P * block_size numbers at once: the L positions of each image are cut into ceil(N / block_size)
chunks, and the backward pass computes a chunk's logits again, as attention kernels do. A chunk
holds whole rows of N logits, so that each pass sees it once, softmax included. Where one chunk is
enough there is no loop. A chunk that fits a processor's cache is faster, too: with 1,024 codes a
position at a time instead of 4,096, N = 65,536 takes 0.4 of the time on PyTorch and 0.7 on
TensorFlow and JAX; 512 gains nothing more.
"""

from keras import ops

from keras_regvq.backend.loops import one_after_another


def chunk_count(codebook_size, block_size, length):
    """Into how many chunks the L positions are cut; `length` may be known only at run time."""
    count = -(-codebook_size // block_size)
    return max(min(count, length), 1) if isinstance(length, int) else count


def chunk_length(length, chunks):
    """Positions in each chunk; the last one is filled up with zeros."""
    return length if chunks == 1 else -(-length // chunks)


def cut(values, chunks):
    """(B, L, C) -> (chunks, B, l, C), zeros behind the last position."""
    if chunks == 1:
        return values[None]
    batch, length, channels = ops.shape(values)
    size = chunk_length(length, chunks)
    zeros = ops.zeros((batch, chunks * size - length, channels), values.dtype)
    values = ops.concatenate([values, zeros], axis=1)
    return ops.transpose(ops.reshape(values, (batch, chunks, size, channels)), (1, 0, 2, 3))


def join(chunked, length):
    """(chunks, B, l, ...) -> (B, L, ...)."""
    if chunked.shape[0] == 1:
        return chunked[0]
    chunks, batch, size, *rest = ops.shape(chunked)
    values = ops.reshape(ops.swapaxes(chunked, 0, 1), (batch, chunks * size, *rest))
    return values[:, :length]


def each_chunk(body, values, chunks):
    """values = body(index, values) for every chunk: a loop, or a plain call if there is one."""
    if chunks == 1:
        return body(0, values)
    return one_after_another(chunks, body, values)


def put(chunked, index, chunk):
    """Replace chunked[index]."""
    if chunked.shape[0] == 1:
        return chunk[None]
    here = ops.arange(chunked.shape[0], dtype="int32") == index
    here = ops.reshape(here, (-1, *(1,) * len(chunk.shape)))
    return ops.where(here, chunk[None], chunked)


# The bias is one more row of the kernel, for one more channel that is 1. Where a chunk is filled
# up that channel is 0 as well, and nothing of what is computed there reaches a gradient.
def with_ones(features):
    return ops.concatenate([features, ops.ones_like(features[..., :1])], axis=-1)


def with_bias(kernel, bias):
    return ops.concatenate([kernel, bias[None]], axis=0)


def map_rows(values, matrix):
    """(B, l, C) @ (C, D), as one product of matrices: PyTorch would make it B small ones."""
    batch, length = ops.shape(values)[:2]
    return ops.reshape(ops.matmul(_flat(values), matrix), (batch, length, matrix.shape[1]))


def affine_gradients(features, kernel, bias, chunks, logits_gradient):
    """Gradients for features, kernel and bias of the logits `features @ kernel + bias`.

    `logits_gradient(index, logits)` gives dL/dlogits of a chunk from its logits, (B, l, N).
    """
    length = ops.shape(features)[1]
    rows, weights = cut(with_ones(features), chunks), with_bias(kernel, bias)

    def add_chunk(index, gradients):
        d_rows, d_weights = gradients
        d_logits = logits_gradient(index, map_rows(rows[index], weights))
        d_rows = put(d_rows, index, map_rows(d_logits, ops.transpose(kernel)))
        return d_rows, d_weights + ops.matmul(ops.transpose(_flat(rows[index])), _flat(d_logits))

    empty = ops.zeros_like(rows[..., :-1]), ops.zeros_like(weights)
    d_rows, d_weights = each_chunk(add_chunk, empty, chunks)
    return join(d_rows, length), d_weights[:-1], d_weights[-1]


def _flat(values):
    return ops.reshape(values, (-1, values.shape[-1]))

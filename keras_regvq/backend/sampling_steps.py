"""What a sampler computes again and again: at each token, of a few rows, or at each step."""

import keras
from keras import ops

_BACKEND = keras.backend.backend()
# PyTorch runs op by op: a cache is written where it is, and only its filled part is read. A
# compiled loop reads caches of a fixed length, and some backends copy them at each write.
CACHE_GROWS_IN_PLACE = _BACKEND == "torch"
# XLA takes a third off a loop of TensorFlow's, which does not use it by itself. (On PyTorch Keras
# would call torch.compile, which takes longer than most samples.)
COMPILE_WITH_XLA = _BACKEND != "torch"
_FEWEST_CALLS = 8  # of fewer their recording and its check take more than the rest saves

if _BACKEND == "torch":
    import torch

    from keras_regvq.backend.torch_replay import Replayed

    # oneDNN's products of weights that it has laid out itself, which torch.compile calls too. They
    # have no public name; where they are missing, PyTorch's plain product takes twice the time.
    _pack = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None)
    _product = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def repeated(function, calls):
    """A function that is called in a loop, without Keras's share of its time where that counts.

    Args:
        function: maps tensors to one tensor. What else it reads must not change in the loop.
        calls: how many times, an int on PyTorch.

    Returns:
        a function of the same inputs; on backends that compile loops, the one given.
    """
    return Replayed(function) if _BACKEND == "torch" and calls >= _FEWEST_CALLS else function


def prepare_affine(kernel, bias, rows):
    """Lay a kernel out for `affine`, once before a loop.

    Args:
        kernel: (inputs, outputs).
        bias: (outputs,), or None.
        rows: how many rows `affine` will get.

    Returns:
        what `affine` takes.
    """
    if _BACKEND != "torch":
        return ops.transpose(kernel), None if bias is None else bias[:, None]
    turned = kernel.t().contiguous()  # a view of it makes slow products
    if _packs(turned):
        turned = _pack(turned, int(rows))
    return turned, bias


def affine(inputs, prepared):
    """(B, inputs) to (B, outputs) by what `prepare_affine` gave.

    XLA on a CPU is faster by a tenth and more where the kernel comes first, for few rows.
    """
    kernel, bias = prepared
    if _BACKEND != "torch":
        product = ops.matmul(kernel, ops.transpose(inputs))
        return ops.transpose(product if bias is None else product + bias)
    if kernel.is_mkldnn:
        return _product(inputs, kernel, bias, "none", [], "")
    # Keras's products of PyTorch's float64 are float32.
    return torch.nn.functional.linear(inputs.to(kernel.dtype), kernel, bias)


def write_position(cache, index, update):
    """A cache (B, H, T, d) with `update` (B, H, 1, d) at a position; the old one is lost."""
    if _BACKEND != "torch":
        return ops.slice_update(cache, (0, 0, index, 0), update)
    cache[:, :, index] = update[:, :, 0]  # `slice_update` would copy the cache
    return cache


def attend(query, settled, recent, index):
    """Attention of one position to the settled ones and to the recent ones up to `index`.

    Args:
        query: (B, H, 1, d).
        settled: keys and values (B, H, S, d).
        recent: keys and values (B, H, R, d), of which the first index + 1 count.
        index: integer scalar in [0, R).

    Returns:
        (B, H, 1, d).
    """
    split, length = settled[0].shape[2], recent[0].shape[2]
    if _BACKEND == "torch":
        recent = [cache[:, :, : index + 1] for cache in recent]
        if not split:
            return torch.nn.functional.scaled_dot_product_attention(query, *recent)
    query = query * query.shape[-1] ** -0.5
    scores = [
        ops.cast(ops.matmul(query, ops.transpose(keys, (0, 1, 3, 2))), "float32")
        for keys, _ in (settled, recent)
    ]
    if _BACKEND != "torch":
        filled = ops.arange(length, dtype="int32") <= index
        scores[1] = ops.where(filled, scores[1], -1e9)
    shares = ops.softmax(ops.concatenate(scores, axis=-1))
    shares = ops.cast(shares, query.dtype)
    attended = ops.matmul(shares[..., :split], settled[1])
    return attended + ops.matmul(shares[..., split:], recent[1])


def _packs(kernel):
    plain = kernel.device.type == "cpu" and kernel.dtype == torch.float32
    return plain and _product is not None and torch.backends.mkldnn.is_available()

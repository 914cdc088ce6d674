"""Sampling an autoregressive prior: one compiled loop over the tokens, with a key-value cache.

The loop runs in a few segments. Within one, each block's cache has a settled part, the prefix and
all earlier segments, that is only read, and a short recent part that each position is written to;
at a segment's end the recent part joins the settled one. So a position attends to what is there,
not to a whole sequence's worth of padding, and no step copies the cache.
"""

from keras import ops

from keras_regvq.backend.sampling_steps import CACHE_GROWS_IN_PLACE, affine, prepare_affine
from keras_regvq.models.priors.token_choice import choose_tokens, guide
from keras_regvq.models.quantized_layers import kernel_of

# Each is compiled by itself: more would save little and compile for longer.
_SEGMENTS = 1 if CACHE_GROWS_IN_PLACE else 4


def sample_tokens(prior, batch, top_k=None):
    """Draw the masked tokens of a batch, in raster order; runs inside a compiled function.

    Args:
        prior: an AutoregressivePrior.
        batch: dict of "tokens" int32 and "mask" bool (B, L), True where tokens are drawn;
            "uniform" (B, L) in [0, 1); "temperature" (B,); and where they apply "condition",
            "top_p" (B,) and "guidance" (B, L).
        top_k: Python int or None.

    Returns:
        int32 (B, L).
    """
    size = ops.shape(batch["tokens"])[0]
    decoder = CachedDecoder(prior, size, batch.get("condition"), "guidance" in batch)
    # One row a position, for the loop to take.
    rows = {
        name: ops.transpose(batch[name])
        for name in ("tokens", "mask", "uniform", "guidance")
        if name in batch
    }

    def draw(logits, position):
        now = {name: ops.take(values, position, axis=0) for name, values in rows.items()}
        if "guidance" in now:
            logits = guide(logits[:size], logits[size:], now["guidance"])
        temperature, top_p = batch["temperature"], batch.get("top_p")
        chosen = choose_tokens(logits, now["uniform"], temperature, top_k, top_p)
        return ops.where(now["mask"], chosen, now["tokens"])

    previous = ops.full((size,), prior.codebook_size, dtype="int32")
    tokens = ops.zeros((prior.length, size), dtype="int32")
    for start, stop in segments(prior.length):

        def step(index, state, start=start):
            previous, tokens, recent = state
            logits, recent = decoder.step(previous, start, index, recent)
            chosen = draw(logits, start + index)
            return chosen, ops.slice_update(tokens, (start + index, 0), chosen[None]), recent

        state = (previous, tokens, decoder.empty_cache(stop - start))
        previous, tokens, recent = ops.fori_loop(0, stop - start, step, state)
        decoder.settle(recent)
    return ops.transpose(tokens)


def segments(length):
    """Split range(length) into at most `_SEGMENTS` (start, stop) of nearly equal size."""
    size = -(-length // _SEGMENTS)
    return [(start, min(start + size, length)) for start in range(0, length, size)]


class CachedDecoder:
    """An AutoregressivePrior's forward pass, one position at a time.

    Args:
        prior: the AutoregressivePrior.
        size: B, examples in the batch.
        condition: a batch of what its condition takes, or None.
        guided: work on 2B rows, the second B with their condition dropped.
    """

    def __init__(self, prior, size, condition=None, guided=False):
        self.prior, self.copies, dropped = prior, 2 if guided else 1, None
        self.rows = self.copies * size
        if guided:
            condition = ops.concatenate([condition, condition])
            dropped = ops.arange(2 * size, dtype="int32") >= size
        prefix, aligned, _ = prior.embed_condition(condition, dropped)
        self.inputs = prior.positions.vectors()[None]
        if aligned is not None:
            self.inputs = self.inputs + aligned
        self.weights = [block.step_weights(self.rows) for block in prior.blocks]
        head = ops.cast(kernel_of(prior.head, (prior.hidden_dim,)), "float32")
        self.head = prepare_affine(head, None, self.rows)
        self.settled = self.empty_cache(0)
        if prefix is not None:
            x, self.settled = prefix, []
            for block in prior.blocks:
                x, *keys_and_values = block.prefill(x)
                self.settled.append(tuple(keys_and_values))

    def empty_cache(self, length):
        """Keys and values for `length` positions of every block: a list of pairs of zeros."""
        heads, dtype = self.prior.num_heads, self.prior.blocks[0].compute_dtype
        shape = (self.rows, heads, length, self.prior.hidden_dim // heads)
        return [(ops.zeros(shape, dtype), ops.zeros(shape, dtype)) for _ in self.prior.blocks]

    def step(self, previous, start, index, recent):
        """Logits of the token at position start + index.

        Args:
            previous: int32 (B,), the token before it.
            start: Python int, the positions that have been settled.
            index: integer scalar.
            recent: the cache since, for `index` positions and more.

        Returns:
            float32 (rows, N), and `recent` with this position written in.
        """
        position = ops.take(self.inputs, start + index, axis=1)
        x = self.prior.embedding(ops.tile(previous, self.copies)) + position
        updated = []
        layers = zip(self.prior.blocks, self.settled, recent, self.weights, strict=True)
        for block, settled, newer, weights in layers:
            x, newer = block.step(x, settled, newer, index, weights)
            updated.append(newer)
        return affine(ops.cast(self.prior.norm(x), "float32"), self.head), updated

    def settle(self, recent):
        """Move a full recent cache to the settled one."""
        self.settled = [
            tuple(ops.concatenate(parts, axis=2) for parts in zip(*caches, strict=True))
            for caches in zip(self.settled, recent, strict=True)
        ]

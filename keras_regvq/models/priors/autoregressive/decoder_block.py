"""A transformer block that trains on whole sequences and samples one position at a time."""

import keras
from keras import ops
from keras_hub.layers import TransformerDecoder


class DecoderBlock(TransformerDecoder):
    """KerasHub's `TransformerDecoder` (pre-norm, GELU) with a lean step for sampling.

    Called on (B, T, D) it is KerasHub's layer. `step` computes one position from the keys and
    values of the earlier ones, as KerasHub's own cache does, with less traffic: its weights are
    plain matrices, gathered once before the loop, and only a short recent part of the cache is
    written to at each position.

    Args:
        hidden_dim: D; the feed-forward layer is four times as wide.
        num_heads: attention heads; divides D.
        dropout: rate, of attention and feed-forward layer.
        activation: "gelu_tanh", GPT-2's, or "gelu" with the error function, PyTorch's default.
    """

    def __init__(self, hidden_dim, num_heads, dropout=0.0, activation="gelu_tanh", **kwargs):
        super().__init__(
            intermediate_dim=4 * hidden_dim,
            num_heads=num_heads,
            dropout=dropout,
            activation=gelu if activation == "gelu_tanh" else keras.activations.gelu,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.02),
            normalize_first=True,
            **kwargs,
        )
        self.hidden_dim = hidden_dim

    def prefill(self, inputs):
        """The block's output for (B, P, D), and keys and values (B, H, P, D / H) for `step`."""
        attention = self._self_attention_layer
        normalized = self._self_attention_layer_norm(inputs)
        keys, values = attention._key_dense(normalized), attention._value_dense(normalized)
        heads_first = (0, 2, 1, 3)
        return self(inputs), ops.transpose(keys, heads_first), ops.transpose(values, heads_first)

    def step_weights(self):
        """The tensors of `step`, by name: gather them outside the loop.

        Kernels are transposed, (outputs, inputs), since `_affine` needs them so.
        """
        attention, size = self._self_attention_layer, self.hidden_dim
        projections = (attention._query_dense, attention._key_dense, attention._value_dense)
        affine = {
            "projections": (
                ops.concatenate([ops.reshape(p.kernel, (size, size)) for p in projections], 1),
                ops.concatenate([ops.reshape(p.bias, (size,)) for p in projections], 0),
            ),
            "output": (
                ops.reshape(attention._output_dense.kernel, (size, size)),
                attention._output_dense.bias,
            ),
        }
        for name in ("intermediate", "output"):
            dense = getattr(self, f"_feedforward_{name}_dense")
            affine[f"feedforward_{name}"] = (dense.kernel, dense.bias)
        return {
            name: (
                ops.cast(_transposed_copy(kernel), self.compute_dtype),
                ops.cast(bias, self.compute_dtype)[:, None],
            )
            for name, (kernel, bias) in affine.items()
        }

    def step(self, inputs, settled, recent, index, weights):
        """One position, attending to the earlier ones.

        Args:
            inputs: (B, D), the position's input.
            settled: keys and values (B, H, S, D / H) of the first S positions, which stay.
            recent: keys and values (B, H, R, D / H) of the positions since, filled below `index`.
            index: integer scalar in [0, R): this is position S + index.
            weights: what `step_weights` gave.

        Returns:
            the output (B, D), and `recent` with this position's keys and values written in.
        """
        batch, heads, length, head_dim = ops.shape(recent[0])
        normalized = self._self_attention_layer_norm(inputs)
        projected = _affine(normalized, weights["projections"])
        query, *pair = ops.split(ops.reshape(projected, (batch, 3 * heads, 1, head_dim)), 3, 1)
        recent = tuple(
            ops.slice_update(cache, (0, 0, index, 0), update)
            for cache, update in zip(recent, pair, strict=True)
        )

        query = query * head_dim**-0.5
        scores = [
            ops.cast(ops.matmul(query, ops.transpose(keys, (0, 1, 3, 2))), "float32")
            for keys, _ in (settled, recent)
        ]
        scores[1] = ops.where(ops.arange(length, dtype="int32") <= index, scores[1], -1e9)
        shares = ops.softmax(ops.concatenate(scores, axis=-1))
        shares = ops.cast(shares, self.compute_dtype)
        split = settled[0].shape[2]
        attended = ops.matmul(shares[..., :split], settled[1])
        attended = attended + ops.matmul(shares[..., split:], recent[1])
        attended = ops.reshape(attended, (batch, heads * head_dim))

        x = inputs + _affine(attended, weights["output"])
        hidden = _affine(self._feedforward_layer_norm(x), weights["feedforward_intermediate"])
        return x + _affine(self.activation(hidden), weights["feedforward_output"]), recent


def gelu(inputs):
    """GPT-2's GELU, by its tanh approximation (Hendrycks and Gimpel, 2016)."""
    return ops.gelu(inputs, approximate=True)


def _transposed_copy(matrix):
    """The transpose, laid out anew: on PyTorch a transposed view makes slow products."""
    flat = ops.reshape(ops.transpose(matrix), (-1,))
    return ops.reshape(flat, matrix.shape[::-1])


def _affine(inputs, kernel_and_bias):
    """(B, inputs) to (B, outputs) by a kernel (outputs, inputs) and a bias (outputs, 1).

    The kernel comes first: with the few rows of one position, XLA on a CPU takes about half the
    time for this product that it takes for inputs @ kernel.
    """
    kernel, bias = kernel_and_bias
    return ops.transpose(ops.matmul(kernel, ops.transpose(inputs)) + bias)

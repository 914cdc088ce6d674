"""A transformer block that trains on whole sequences and samples one position at a time."""

from typing import NamedTuple

import keras
from keras import ops
from keras_hub.layers import TransformerDecoder

from keras_regvq.backend.sampling_steps import affine, attend, prepare_affine, write_position
from keras_regvq.models.quantized_layers import kernel_of


class DecoderParts(NamedTuple):
    """The layers of a `DecoderBlock`."""

    attention_norm: keras.layers.Layer
    query: keras.layers.Layer
    key: keras.layers.Layer
    value: keras.layers.Layer
    attention_output: keras.layers.Layer
    feedforward_norm: keras.layers.Layer
    feedforward_hidden: keras.layers.Layer
    feedforward_output: keras.layers.Layer


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
        self.hidden_dim, self.activation_name = hidden_dim, activation

    def get_config(self):
        return {
            **keras.layers.Layer.get_config(self),  # KerasHub's is that of its own arguments
            "hidden_dim": self.hidden_dim,
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "activation": self.activation_name,
        }

    def parts(self):
        """KerasHub's layers by what they do. (A method: Keras saves layers that are attributes.)

        KerasHub has no public names for them: this is the one place that uses its private ones.
        """
        attention = self._self_attention_layer
        return DecoderParts(
            attention_norm=self._self_attention_layer_norm,
            query=attention._query_dense,
            key=attention._key_dense,
            value=attention._value_dense,
            attention_output=attention._output_dense,
            feedforward_norm=self._feedforward_layer_norm,
            feedforward_hidden=self._feedforward_intermediate_dense,
            feedforward_output=self._feedforward_output_dense,
        )

    def prefill(self, inputs):
        """The block's output for (B, P, D), and keys and values (B, H, P, D / H) for `step`."""
        parts = self.parts()
        normalized = parts.attention_norm(inputs)
        keys, values = parts.key(normalized), parts.value(normalized)
        heads_first = (0, 2, 1, 3)
        return self(inputs), ops.transpose(keys, heads_first), ops.transpose(values, heads_first)

    def step_weights(self, rows):
        """The tensors of `step` for a batch of so many rows: gather them outside the loop."""
        parts, size = self.parts(), self.hidden_dim
        projections = (parts.query, parts.key, parts.value)
        output = parts.attention_output
        kernels = {
            "projections": (
                ops.concatenate([kernel_of(p, (size,)) for p in projections], 1),
                ops.concatenate([ops.reshape(p.bias, (size,)) for p in projections], 0),
            ),
            "output": (kernel_of(output, (self.num_heads, size // self.num_heads)), output.bias),
        }
        for name, inputs in (("feedforward_hidden", size), ("feedforward_output", 4 * size)):
            dense = getattr(parts, name)
            kernels[name] = (kernel_of(dense, (inputs,)), dense.bias)
        dtype = self.compute_dtype
        weights = {
            name: prepare_affine(ops.cast(kernel, dtype), ops.cast(bias, dtype), rows)
            for name, (kernel, bias) in kernels.items()
        }
        for name in ("attention_norm", "feedforward_norm"):
            norm = getattr(parts, name)
            weights[name] = (norm.gamma, norm.beta, -1, norm.epsilon)
        return weights

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
        batch, heads, _, head_dim = ops.shape(recent[0])
        normalized = ops.layer_normalization(inputs, *weights["attention_norm"])
        projected = affine(normalized, weights["projections"])
        query, *pair = ops.split(ops.reshape(projected, (batch, 3 * heads, 1, head_dim)), 3, 1)
        recent = tuple(
            write_position(cache, index, update) for cache, update in zip(recent, pair, strict=True)
        )
        attended = ops.reshape(attend(query, settled, recent, index), (batch, heads * head_dim))

        x = inputs + affine(attended, weights["output"])
        normalized = ops.layer_normalization(x, *weights["feedforward_norm"])
        hidden = affine(normalized, weights["feedforward_hidden"])
        return x + affine(self.activation(hidden), weights["feedforward_output"]), recent


def gelu(inputs):
    """GPT-2's GELU, by its tanh approximation (Hendrycks and Gimpel, 2016)."""
    return ops.gelu(inputs, approximate=True)

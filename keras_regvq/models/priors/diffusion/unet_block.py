"""The block of the U-Net: residual convolutions by the time, and attention to the context."""

from keras import layers, ops
from keras_hub.layers import TransformerDecoder

from keras_regvq.models.layers.blocks import Convolution
from keras_regvq.models.layers.group_norm import GroupNorm
from keras_regvq.models.priors.autoregressive.decoder_block import gelu


class UNetBlock(layers.Layer):
    """A residual block that the time scales and shifts, and a transformer block if it has heads.

    Args:
        channels: output channels.
        num_heads: attention heads; 0: no attention.
        dropout: rate before the second convolution.
    """

    def __init__(self, channels, num_heads, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.num_heads, self.dropout_rate = channels, num_heads, dropout
        self.dropout = layers.Dropout(dropout, name="dropout", dtype=self.dtype_policy)

    def build(self, time_dim, context_shape=None):
        """Create the weights for a time embedding and a context."""
        policy, channels = {"dtype": self.dtype_policy}, self.channels
        shape = (None, None, None, channels)
        self.norm1 = built(norm(channels, name="norm1", **policy), shape)
        self.conv1 = built(convolution(channels, name="conv1", **policy), shape)
        self.scale_shift = built(
            layers.Dense(2 * channels, kernel_initializer="zeros", name="scale_shift", **policy),
            (None, time_dim),
        )
        self.norm2 = built(norm(channels, name="norm2", **policy), shape)
        # The convolutions of a fresh block add nothing.
        self.conv2 = built(
            convolution(channels, name="conv2", kernel_initializer="zeros", **policy), shape
        )
        self.transformer = None
        if self.num_heads:
            self.transformer = TransformerDecoder(
                4 * channels,
                self.num_heads,
                activation=gelu,
                normalize_first=True,
                name="transformer",
                **policy,
            )
            self.transformer.build((None, None, channels), context_shape)

    def call(self, inputs, time, context=None, padding_mask=None, training=False):
        x = self.conv1(ops.silu(self.norm1(inputs)))
        scale, shift = ops.split(self.scale_shift(time)[:, None, None], 2, axis=-1)
        x = self.norm2(x) * (1 + scale) + shift
        x = inputs + self.conv2(self.dropout(ops.silu(x), training=training))
        if self.transformer is None:
            return x
        batch, height, width, channels = ops.shape(x)
        attended = self.transformer(
            ops.reshape(x, (batch, height * width, channels)),
            context,
            encoder_padding_mask=padding_mask,
            use_causal_mask=False,
            training=training,
        )
        return ops.reshape(attended, (batch, height, width, channels))

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "num_heads": self.num_heads,
            "dropout": self.dropout_rate,
        }


def norm(channels, **kwargs):
    """Groups of 16 channels: small groups take away what is the same all over the grid."""
    return GroupNorm(max(channels // 16, 1), **kwargs)


def convolution(channels, **kwargs):
    return Convolution(channels, 3, padding="same", **kwargs)


def built(layer, shape):
    layer.build(shape)
    return layer

"""The blocks of VQ-GAN's encoder and decoder, on (B, H, W, C)."""

import functools

import keras
from keras import layers, ops

from keras_regvq.models.layers.group_norm import GroupNorm

# Channels are last here whatever `keras.config.image_data_format()` says.
Convolution = functools.partial(layers.Conv2D, data_format="channels_last")


@keras.saving.register_keras_serializable(package="keras_regvq")
class ResidualBlock(layers.Layer):
    """x + conv(drop(swish(norm(conv(swish(norm(x))))))), with a 1x1 convolution of x if C changes.

    Args:
        channels: output channels.
        dropout: rate before the second convolution.
        norm_groups: groups of the normalizations.
        gradient_checkpointing: of what is inside, keep the second convolution's input alone, and
            compute the rest again in the backward pass.
    """

    def __init__(
        self, channels, dropout=0.0, norm_groups=32, gradient_checkpointing=False, **kwargs
    ):
        super().__init__(**kwargs)
        self.channels, self.dropout_rate, self.norm_groups = channels, dropout, norm_groups
        self.gradient_checkpointing = gradient_checkpointing
        policy = {"dtype": self.dtype_policy}
        self.norm1 = GroupNorm(norm_groups, name="norm1", **policy)
        self.conv1 = Convolution(channels, 3, padding="same", name="conv1", **policy)
        self.norm2 = GroupNorm(norm_groups, name="norm2", **policy)
        self.dropout = layers.Dropout(dropout, name="dropout", **policy)
        self.conv2 = Convolution(channels, 3, padding="same", name="conv2", **policy)
        self.shortcut = None

    def build(self, input_shape):
        output_shape = self.compute_output_shape(input_shape)
        self.norm1.build(input_shape)
        self.conv1.build(input_shape)
        self.norm2.build(output_shape)
        self.conv2.build(output_shape)
        if input_shape[-1] != self.channels:
            self.shortcut = Convolution(self.channels, 1, name="shortcut", dtype=self.dtype_policy)
            self.shortcut.build(input_shape)

    def call(self, inputs, training=False):
        def hidden(inputs):
            return ops.silu(self.norm2(self.conv1(ops.silu(self.norm1(inputs)))))

        if training and self.gradient_checkpointing:
            hidden = keras.remat(hidden)
        x = self.dropout(hidden(inputs), training=training)  # drawn once, so it stays outside
        skip = inputs if self.shortcut is None else self.shortcut(inputs)
        return skip + self.conv2(x)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.channels)

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "dropout": self.dropout_rate,
            "norm_groups": self.norm_groups,
            "gradient_checkpointing": self.gradient_checkpointing,
        }


@keras.saving.register_keras_serializable(package="keras_regvq")
class AttentionBlock(layers.Layer):
    """x + proj(attention(norm(x))): one head over all positions, scale C^-1/2.

    Args:
        norm_groups: groups of the normalization.
    """

    def __init__(self, norm_groups=32, **kwargs):
        super().__init__(**kwargs)
        self.norm_groups = norm_groups
        self.norm = GroupNorm(norm_groups, name="norm", dtype=self.dtype_policy)

    def build(self, input_shape):
        self.norm.build(input_shape)
        for name in ("query", "key", "value", "projection"):
            layer = Convolution(input_shape[-1], 1, name=name, dtype=self.dtype_policy)
            layer.build(input_shape)
            setattr(self, name, layer)

    def call(self, inputs):
        x = self.norm(inputs)
        batch, height, width, channels = ops.shape(inputs)

        def one_head(values):
            values = ops.reshape(values, (batch, height * width, 1, channels))
            # float16 scores overflow easily, and JAX refuses them on a CPU.
            return ops.cast(values, "float32") if self.compute_dtype == "float16" else values

        attended = ops.dot_product_attention(
            one_head(self.query(x)), one_head(self.key(x)), one_head(self.value(x))
        )
        attended = ops.reshape(attended, (batch, height, width, channels))
        return inputs + self.projection(ops.cast(attended, self.compute_dtype))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "norm_groups": self.norm_groups}


def downsample(channels, **kwargs):
    """3x3 convolution, stride 2: (H, W) -> (H/2, W/2).

    On even sizes "same" pads one row and column at the bottom right, as VQ-GAN does.
    """
    return Convolution(channels, 3, strides=2, padding="same", **kwargs)


@keras.saving.register_keras_serializable(package="keras_regvq")
class Upsample(layers.Layer):
    """Nearest neighbour x2, then a 3x3 convolution: (H, W) -> (2H, 2W).

    Args:
        channels: output channels.
        kernel_initializer: of the convolution.
    """

    def __init__(self, channels, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.conv = Convolution(
            channels,
            3,
            padding="same",
            kernel_initializer=kernel_initializer,
            name="conv",
            dtype=self.dtype_policy,
        )
        self.kernel_initializer = self.conv.kernel_initializer

    def build(self, input_shape):
        self.conv.build(input_shape)

    def call(self, inputs):
        batch, height, width, channels = ops.shape(inputs)
        x = ops.broadcast_to(inputs[:, :, None, :, None, :], (batch, height, 2, width, 2, channels))
        return self.conv(ops.reshape(x, (batch, 2 * height, 2 * width, channels)))

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        double = [None if side is None else 2 * side for side in (height, width)]
        return (batch, *double, self.channels)

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

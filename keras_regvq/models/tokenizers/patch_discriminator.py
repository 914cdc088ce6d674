"""The discriminator that judges patches."""

import keras
from keras import layers

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.checks.arrays import check_image_shape_and_dtype, unit_float
from keras_regvq.models.layers.blocks import Convolution
from keras_regvq.models.layers.group_norm import GroupNorm


@keras.saving.register_keras_serializable(package="keras_regvq")
class PatchDiscriminator(keras.Model):
    """PatchGAN: images (B, H, W, 3) in [0, 1] -> logits (B, H', W', 1), one an image patch.

    4x4 convolutions with 64, 128, 256 (stride 2) and 512 (stride 1) channels and leaky ReLU 0.2;
    256-pixel images give 30 x 30 logits. GroupNorm stands where the original has BatchNorm: no
    batch statistics, so real and generated images need not share a batch. The logits are raw
    scores, for hinge losses; uint8 images are scaled. Isola et al., "Image-to-Image Translation
    with Conditional Adversarial Networks" (2017).

    Args:
        base_channels: channels of the first convolution.
        num_layers: convolutions with stride 2.
        dtype: policy; the last convolution stays float32.
        image_channels: those of the images, 1, 3 or 4.

    Example:
        ```python
        discriminator = keras_regvq.models.PatchDiscriminator(base_channels=16, num_layers=2)
        discriminator(images).shape  # (4, 14, 14, 1)
        tokenizer = keras_regvq.from_preset("regvq_patch4_256")
        trainer = keras_regvq.training.TokenizerTrainer(tokenizer, discriminator)
        trainer.compile(keras_regvq.training.Muon(0.02), keras.optimizers.Adam(1e-4))
        trainer.fit(images, batch_size=4, epochs=1)
        ```
    """

    def __init__(
        self,
        base_channels=64,
        num_layers=3,
        dtype=None,
        name=None,
        trainable=True,
        image_channels=3,
    ):
        base_channels = check_positive_integer("base_channels", base_channels)
        num_layers = check_positive_integer("num_layers", num_layers)
        policy = {"dtype": keras.dtype_policies.get(dtype or keras.config.dtype_policy())}
        inputs = keras.Input((None, None, image_channels), name="images", dtype="float32")

        x = inputs * 2.0 - 1.0
        for layer in range(num_layers + 1):
            channels = base_channels * min(2**layer, 8)
            # Explicit padding: 4x4 with stride 1 shrinks by one pixel, which "same" would not.
            x = layers.ZeroPadding2D(1, "channels_last", **policy)(x)
            x = Convolution(
                channels,
                4,
                strides=2 if layer < num_layers else 1,
                use_bias=layer == 0,
                name=f"conv_{layer}",
                **policy,
            )(x)
            if layer > 0:
                x = GroupNorm(name=f"norm_{layer}", **policy)(x)
            x = layers.LeakyReLU(0.2, **policy)(x)
        x = layers.ZeroPadding2D(1, "channels_last", **policy)(x)
        logits = Convolution(1, 4, name="conv_out", dtype="float32")(x)
        super().__init__(inputs, logits, name=name, trainable=trainable)
        self.base_channels, self.num_layers = base_channels, num_layers
        self.image_channels = image_channels
        self.policy = policy["dtype"]

    def call(self, inputs, training=None, mask=None):
        check_image_shape_and_dtype("images", inputs, channels=self.image_channels)
        least = 3 * 2**self.num_layers  # the last two convolutions take a pixel each
        if any(side is not None and side < least for side in inputs.shape[1:3]):
            expected = f"sides of at least {least}, or fewer num_layers"
            refuse("images", f"images of {tuple(inputs.shape[1:3])} pixels", expected)
        return super().call(unit_float(inputs), training=training, mask=mask)

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "base_channels": self.base_channels,
            "num_layers": self.num_layers,
            "image_channels": self.image_channels,
            "dtype": keras.dtype_policies.serialize(self.policy),
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)

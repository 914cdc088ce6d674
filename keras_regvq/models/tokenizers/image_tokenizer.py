"""The tokenizer: images to discrete tokens and back."""

import functools

import keras
import numpy as np
from keras import ops

from keras_regvq.checks.arguments import check_integer, check_integers, check_number, refuse
from keras_regvq.checks.arrays import (
    check_image_shape_and_dtype,
    check_images,
    describe,
    unit_float,
)
from keras_regvq.models.batched_function import BatchedFunction
from keras_regvq.models.preset_model import PresetBackbone
from keras_regvq.models.tokenizers import encoder_decoder
from keras_regvq.models.tokenizers.export import export_tokenizer
from keras_regvq.models.tokenizers.image_sizes import check_image_channels, check_image_size
from keras_regvq.quantizers import Quantizer


@keras.saving.register_keras_serializable(package="keras_regvq")
class ImageTokenizer(PresetBackbone):
    """Encoder, quantizer and decoder with VQ-GAN's topology.

    Esser et al., "Taming Transformers for High-Resolution Image Synthesis" (2021). The defaults are
    the paper's size: 256-pixel images to 16 x 16 tokens (f16). Any image whose height and width are
    multiples of `downsampling_factor` will do, not only `image_size`.

    As a layer, `tokenizer(images)` maps images (B, H, W, 3), uint8 or float in [0, 1], to a dict of
    "images" in [0, 1] and "tokens" int32 (B, h, w). Train it with
    `keras_regvq.training.TokenizerTrainer`. With a `ResidualQuantizer` tokens are (B, h, w, q)
    everywhere, and `tokens_per_position` is q, else 1.

    Args:
        image_size: int or (height, width) it is made for; its height places the attention.
        quantizer: a `keras_regvq.quantizers.Quantizer`.
        base_channels: channels at full resolution.
        channel_multipliers: one a level, from high to low resolution.
        num_res_blocks: residual blocks a level of the encoder, 0 or more; the decoder has one
            more, and both have two in the middle.
        attention_resolutions: heights of the feature maps that attention works on, for images of
            `image_size`; it stays at these levels for all other sizes.
        latent_channels: channels between the encoder and decoder and the quantizer's 1x1
            convolutions.
        dropout: rate inside the residual blocks.
        middle_attention: whether attention works at the lowest resolution, too.
        norm_groups: groups of a normalization; gcd(norm_groups, channels) where they do not divide.
        image_channels: 3 for RGB, 1 for grey, 4 for RGB and opacity.
        patch_size: side of the patches that the first level works on, 1 in VQ-GAN. A network that
            is wide at a quarter of the resolution learns faster (benchmarks/time_to_quality.py).
        unit_range: whether the networks see pixels in [0, 1], as MaskGIT's, and not in [-1, 1].
        gradient_checkpointing: compute most of each block again in the backward pass: less memory.
        dtype: policy of encoder and decoder, e.g. "bfloat16"; default the global policy. The
            quantizer and the last convolution stay float32.

    Example:
        ```python
        quantizer = keras_regvq.quantizers.RegularizedQuantizer(codebook_size=256, embedding_dim=16)
        tokenizer = keras_regvq.models.ImageTokenizer(
            64, quantizer, base_channels=16, channel_multipliers=(1, 1, 2), num_res_blocks=1
        )
        tokens = tokenizer.encode(images)  # int32 (4, 16, 16)
        decoded = tokenizer.decode(tokens)  # float32 (4, 64, 64, 3)
        ```
    """

    def __init__(
        self,
        image_size,
        quantizer,
        base_channels=128,
        channel_multipliers=(1, 1, 2, 2, 4),
        num_res_blocks=2,
        attention_resolutions=(16,),
        latent_channels=256,
        dropout=0.0,
        middle_attention=True,
        norm_groups=32,
        dtype=None,
        name=None,
        trainable=True,
        image_channels=3,
        patch_size=1,
        unit_range=False,
        gradient_checkpointing=False,
    ):
        if not isinstance(quantizer, Quantizer):
            refuse("quantizer", describe(quantizer), "a keras_regvq.quantizers.Quantizer")
        multipliers = check_integers("channel_multipliers", channel_multipliers, 1, fewest=1)
        patch_size = check_integer("patch_size", patch_size, 1)
        factor = patch_size * 2 ** (len(multipliers) - 1)
        image_size = check_image_size(image_size, factor)
        architecture = {
            "image_size": image_size[0],
            "base_channels": check_integer("base_channels", base_channels, 1),
            "channel_multipliers": multipliers,
            "num_res_blocks": check_integer("num_res_blocks", num_res_blocks, 0),
            "attention_resolutions": check_integers(
                "attention_resolutions", attention_resolutions, 1
            ),
            "latent_channels": check_integer("latent_channels", latent_channels, 1),
            "dropout": check_number("dropout", dropout, 0, 1),
            "middle_attention": bool(middle_attention),
            "norm_groups": check_integer("norm_groups", norm_groups, 1),
            "image_channels": check_image_channels(image_channels),
            "patch_size": patch_size,
            "unit_range": bool(unit_range),
            "gradient_checkpointing": bool(gradient_checkpointing),
        }
        width = quantizer.embedding_dim
        networks = {**architecture, "dtype": keras.dtype_policies.get(dtype)}
        encoder = encoder_decoder.build_encoder(embedding_channels=width, **networks)
        decoder = encoder_decoder.build_decoder(embedding_dim=width, **networks)

        inputs = keras.Input((None, None, image_channels), name="images", dtype="float32")
        quantized = quantizer(encoder(inputs * 2.0 - 1.0))
        decoded = decoder(quantized["embeddings"])["images"]
        outputs = {"images": to_unit_range(decoded), "tokens": quantized["tokens"]}
        super().__init__(inputs, outputs, dtype=dtype, name=name, trainable=trainable)

        self.encoder, self.quantizer, self.decoder = encoder, quantizer, decoder
        self.architecture = architecture
        for name, value in {**architecture, "image_size": image_size}.items():
            setattr(self, name, value)
        self.downsampling_factor = factor
        self.tokens_per_position = quantizer.tokens_per_position

    def __call__(self, inputs, *args, **kwargs):
        if isinstance(inputs, np.ndarray):  # tensors may have no values yet
            inputs = self.check_images("images", inputs)
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs, training=None, mask=None):
        images = inputs["images"] if isinstance(inputs, dict) else inputs
        factor, channels = self.downsampling_factor, self.image_channels
        check_image_shape_and_dtype("images", images, factor, channels)
        return super().call(unit_float(images), training=training, mask=mask)

    def predict(self, x, *args, **kwargs):
        """`keras.Model.predict`; arrays are checked as `encode` checks them."""
        if hasattr(x, "dtype"):
            x = self.check_images("x", x)
        return super().predict(x, *args, **kwargs)

    def check_images(self, argument, images):
        """Images of any multiple of the downsampling factor, as NumPy: uint8 or in [0, 1]."""
        return check_images(argument, images, self.downsampling_factor, self.image_channels)

    def features(self, images, training=False):
        """What the quantizer is given for images, uint8 or float in [0, 1]: (B, h, w, d)."""
        images = ops.cast(unit_float(images), "float32")
        return self.encoder(images * 2.0 - 1.0, training=training)

    def tokens_of(self, images):
        """`encode` for use inside models: tensors in, tensors out, in a graph or out of it.

        Args:
            images: (B, H, W, image_channels), uint8, or float in [0, 1]; values are not checked.

        Returns:
            int32 (B, H / f, W / f), the best codes. No gradient flows.

        Raises:
            ValueError: for a wrong shape or dtype.
        """
        factor, channels = self.downsampling_factor, self.image_channels
        check_image_shape_and_dtype("images", images, factor, channels)
        return ops.stop_gradient(self.quantizer.best_tokens(self.features(images)))

    @property
    def codebook_size(self):
        return self.quantizer.codebook_size

    @property
    def token_grid(self):
        """(h, w), or (h, w, q), of the tokens of an image of `image_size`."""
        sides = tuple(side // self.downsampling_factor for side in self.image_size)
        return (*sides, self.tokens_per_position) if self.tokens_per_position > 1 else sides

    def encode(self, images, batch_size=32):
        """Turn images into tokens.

        Args:
            images: (B, H, W, image_channels), uint8, or float in [0, 1]; H and W multiples of
                `downsampling_factor`.
            batch_size: images worked on at once.

        Returns:
            NumPy int32 (B, H / f, W / f), the best codes: nothing is sampled.

        Raises:
            ValueError: for a wrong shape, dtype or value range.
        """
        return self._encode(self.check_images("images", images), batch_size)

    def decode(self, tokens, batch_size=32):
        """Turn tokens, integers (B, h, w), into images, NumPy float32 (B, f h, f w, C) in [0, 1].

        Of (B, h, w, q), `tokens[..., :1]` give coarser images. A wrong shape or dtype, or a token
        outside the codebook, is a ValueError.
        """
        return self._decode(self.quantizer.check_tokens("tokens", tokens), batch_size)

    def reconstruct(self, images, batch_size=32):
        """decode(encode(images)): what is left of images after tokenization."""
        return self.decode(self.encode(images, batch_size), batch_size)

    def export(self, directory, format="onnx", batch_size=1):
        """Write `encode` and `decode` as graphs that run without Keras: `export_tokenizer`."""
        return export_tokenizer(self, directory, format, batch_size)

    @functools.cached_property
    def _encode(self):
        return BatchedFunction(self, self.tokens_of)

    @functools.cached_property
    def _decode(self):
        def decode(tokens):
            return to_unit_range(self.decoder(self.quantizer.embed(tokens))["images"])

        return BatchedFunction(self, decode)

    @classmethod
    def with_overrides(cls, config, overrides):
        if "image_size" in overrides and "attention_resolutions" not in overrides:
            config = encoder_decoder.at_image_size(config, overrides["image_size"])
        return {**config, **overrides}

    def get_config(self):
        return {
            **super().get_config(),
            **self.architecture,
            "image_size": self.image_size,
            "quantizer": keras.saving.serialize_keras_object(self.quantizer),
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if isinstance(config.get("quantizer"), dict):
            config["quantizer"] = keras.saving.deserialize_keras_object(config["quantizer"])
        return super().from_config(config)


def to_unit_range(images):
    """[-1, 1] -> [0, 1], clipped."""
    return ops.clip((images + 1.0) / 2.0, 0.0, 1.0)

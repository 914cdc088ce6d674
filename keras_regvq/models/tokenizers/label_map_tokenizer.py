"""A tokenizer of label maps: what VQ-GAN tells its transformer about a scene."""

import functools

import keras
import numpy as np
from keras import ops

from keras_regvq.checks.arguments import check_integers, check_positive_integer, refuse
from keras_regvq.checks.arrays import check_tokens, describe
from keras_regvq.checks.checked_model import CheckedModel
from keras_regvq.models.batched_function import BatchedFunction
from keras_regvq.models.preset_model import PresetModel
from keras_regvq.models.tokenizers.encoder_decoder import (
    at_image_size,
    build_decoder,
    build_encoder,
)
from keras_regvq.models.tokenizers.image_sizes import check_image_size
from keras_regvq.quantizers import Quantizer


@keras.saving.register_keras_serializable(package="keras_regvq")
class LabelMapTokenizer(CheckedModel, PresetModel):
    """Label maps to tokens and back: a small VQ autoencoder of one-hot maps.

    Trains with `fit` on label maps, integers (B, H, W), bare or in a dict under "labels":
    cross-entropy of every pixel and the quantizer's losses, no adversary and no perceptual loss.
    Esser et al., "Taming Transformers for High-Resolution Image Synthesis" (2021), who give a
    transformer its condition as such tokens.

    Args:
        num_classes: labels are 0 to num_classes - 1.
        image_size: int or (H, W) of the maps, multiples of the downsampling factor.
        quantizer: a `keras_regvq.quantizers.Quantizer`.
        base_channels, channel_multipliers, num_res_blocks, latent_channels: as in
            `ImageTokenizer`, and so are `attention_resolutions` and `dtype`.

    Example:
        ```python
        maps = keras_regvq.data.scenes(8, size=64)["labels"]  # int32 (8, 64, 64)
        quantizer = keras_regvq.quantizers.VectorQuantizer(codebook_size=64, embedding_dim=32)
        tokenizer = keras_regvq.models.LabelMapTokenizer(16, 64, quantizer, base_channels=8)
        tokenizer.compile(keras.optimizers.Adam(1e-3))
        tokenizer.fit(maps, batch_size=4, epochs=1)
        tokens = tokenizer.encode(maps)  # int32 (8, 16, 16)
        ```
    """

    expected_inputs = 'label maps, integers (B, H, W), bare or in a dict under "labels"'
    bare_inputs = "labels"
    looks_first = False

    def __init__(
        self,
        num_classes,
        image_size,
        quantizer,
        base_channels=32,
        channel_multipliers=(1, 2, 2),
        num_res_blocks=1,
        latent_channels=64,
        attention_resolutions=(),
        dtype=None,
        name=None,
        trainable=True,
    ):
        if not isinstance(quantizer, Quantizer):
            refuse("quantizer", describe(quantizer), "a keras_regvq.quantizers.Quantizer")
        num_classes = check_positive_integer("num_classes", num_classes)
        channel_multipliers = check_integers("channel_multipliers", channel_multipliers, 1, 1)
        factor = 2 ** (len(channel_multipliers) - 1)
        image_size = check_image_size(image_size, factor)
        sizes = {
            "base_channels": check_positive_integer("base_channels", base_channels),
            "channel_multipliers": channel_multipliers,
            "num_res_blocks": check_positive_integer("num_res_blocks", num_res_blocks),
            "latent_channels": check_positive_integer("latent_channels", latent_channels),
            "attention_resolutions": check_integers(
                "attention_resolutions", attention_resolutions, 1
            ),
        }
        architecture = {
            **sizes,
            "image_size": image_size[0],
            "dropout": 0.0,
            "dtype": keras.dtype_policies.get(dtype or keras.config.dtype_policy()),
            "image_channels": num_classes,
        }
        encoder = build_encoder(embedding_channels=quantizer.embedding_dim, **architecture)
        decoder = build_decoder(embedding_dim=quantizer.embedding_dim, **architecture)
        if not quantizer.built:  # one from a configuration is
            quantizer.build((None, None, None, quantizer.embedding_dim))
        super().__init__(dtype=dtype, name=name, trainable=trainable)
        self.encoder, self.quantizer, self.decoder = encoder, quantizer, decoder
        self.num_classes, self.image_size, self.sizes = num_classes, image_size, sizes
        for name, value in sizes.items():
            setattr(self, name, value)
        self.codebook_size = quantizer.codebook_size
        self.tokens_per_position = quantizer.tokens_per_position
        self.token_grid = tuple(side // factor for side in image_size)
        if self.tokens_per_position > 1:
            self.token_grid = (*self.token_grid, self.tokens_per_position)
        self.accuracy = keras.metrics.Mean("pixel_accuracy", dtype="float32")
        self.built = True

    def compile(self, optimizer="rmsprop", loss=None, **kwargs):
        """`keras.Model.compile`, but losses and metrics, which the tokenizer has."""
        super().compile(optimizer=optimizer, loss=loss, **kwargs)

    def select_inputs(self, argument, batch):
        if isinstance(batch, dict):
            if "labels" not in batch:
                refuse(argument, f"a dict with keys {sorted(batch)}", self.expected_inputs)
            batch = batch["labels"]
        return batch

    def check_inputs(self, argument, inputs):
        check_label_maps(argument, inputs, self.num_classes, self.image_size)

    def features(self, label_maps, training=False):
        """What the quantizer is given for label maps, integers (B, H, W): (B, h, w, d)."""
        one_hot = ops.one_hot(label_maps, self.num_classes, dtype="float32")
        return self.encoder(one_hot, training=training)

    def call(self, label_maps, training=False):
        """Label maps (B, H, W) -> dict of "logits" (B, H, W, num_classes) and "losses"."""
        quantized = self.quantizer(self.features(label_maps, training), training=training)
        logits = self.decoder(quantized["embeddings"], training=training)["images"]
        losses = {name: ops.reshape(v, (1,)) for name, v in quantized["losses"].items()}
        return {"logits": logits, "losses": losses}

    def batch_loss(self, inputs, outputs, training):
        """Cross-entropy of the pixels, in nats, and the quantizer's losses."""
        labels, logits = ops.cast(inputs, "int32"), outputs["logits"]
        entropy = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        found = ops.cast(ops.argmax(logits, axis=-1), "int32") == labels
        accuracy = {"pixel_accuracy": ops.mean(ops.cast(found, "float32"))}
        self.log_means({"pixel_accuracy": self.accuracy}, accuracy, labels)
        return ops.mean(entropy) + sum(ops.sum(loss) for loss in outputs["losses"].values())

    def tokens_of(self, label_maps):
        """`encode` for use inside models: tensors in, tensors out, in a graph or out of it.

        Args:
            label_maps: integers (B, H, W); nothing is checked.

        Returns:
            int32 (B, h, w), the best codes. No gradient flows.
        """
        return ops.stop_gradient(self.quantizer.best_tokens(self.features(label_maps)))

    def encode(self, label_maps, batch_size=32):
        """Tokens, NumPy int32 (B, h, w), of label maps, integers (B, H, W)."""
        label_maps = check_label_maps("label_maps", label_maps, self.num_classes, self.image_size)
        return self._encode(label_maps, batch_size)

    def decode(self, tokens, batch_size=32):
        """Label maps, NumPy int32 (B, H, W), of tokens, integers (B, h, w)."""
        return self._decode(self.quantizer.check_tokens("tokens", tokens), batch_size)

    @functools.cached_property
    def _encode(self):
        return BatchedFunction(self, self.tokens_of)

    @functools.cached_property
    def _decode(self):
        def decode(tokens):
            logits = self.decoder(self.quantizer.embed(tokens))["images"]
            return ops.cast(ops.argmax(logits, axis=-1), "int32")

        return BatchedFunction(self, decode)

    @classmethod
    def with_overrides(cls, config, overrides):
        if "image_size" in overrides and "attention_resolutions" not in overrides:
            config = at_image_size(config, overrides["image_size"])
        return {**config, **overrides}

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "image_size": self.image_size,
            "quantizer": keras.saving.serialize_keras_object(self.quantizer),
            **self.sizes,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if isinstance(config.get("quantizer"), dict):
            config["quantizer"] = keras.saving.deserialize_keras_object(config["quantizer"])
        return cls(**config)


def check_label_maps(argument, label_maps, num_classes, image_size):
    """Check concrete label maps and return them as int32 NumPy (B, H, W).

    Raises:
        ValueError: for a wrong rank, size or dtype, or a label outside [0, num_classes).
    """
    label_maps = check_tokens(argument, label_maps, num_classes, "(B, H, W)", "labels")
    if label_maps.shape[1:] != tuple(image_size):
        refuse(argument, f"label maps of {label_maps.shape[1:]} pixels", f"{tuple(image_size)}")
    return np.ascontiguousarray(label_maps)

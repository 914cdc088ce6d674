"""Training a tokenizer with `model.fit`, on every backend with Keras's own training step."""

import keras
from keras import ops

from keras_regvq.backend.fast_layers import use_fast_layers
from keras_regvq.backend.layer_tree import freeze
from keras_regvq.backend.random_state import SavesRandomState
from keras_regvq.checks.arguments import (
    check_choice,
    check_integer,
    check_number,
    check_positive_integer,
    check_seed,
    refuse,
)
from keras_regvq.checks.arrays import check_image_shape_and_dtype, describe, unit_float
from keras_regvq.checks.checked_model import CheckedModel
from keras_regvq.metrics import PSNR, CodebookPerplexity, CodebookUsage
from keras_regvq.metrics.psnr import peak_signal_to_noise_ratio
from keras_regvq.models import ImageTokenizer
from keras_regvq.training.adversarial.two_player_model import TwoPlayerModel
from keras_regvq.training.batches import check_image_batches, images_of
from keras_regvq.training.feature_losses import FeatureLosses
from keras_regvq.training.tokenizer_objective import TokenizerObjective, unit_range


@keras.saving.register_keras_serializable(package="keras_regvq")
class TokenizerTrainer(CheckedModel, SavesRandomState, TwoPlayerModel):
    """Trains an `ImageTokenizer` as VQ-GAN and Reg-VQ are trained.

    The loss is L1 + perceptual + contrastive + the quantizer's losses + lambda * adversarial,
    with VQ-GAN's adaptive lambda; the discriminator's hinge loss is added on the detached
    reconstruction, so that one backward pass serves both players, each with its own optimizer.
    The players step together from one forward pass (VQ-GAN runs the generator again for the
    discriminator). The discriminator learns from the first step; its weight in the generator's
    loss is 0 until `discriminator_start` and then grows linearly for `discriminator_ramp` steps.

    `fit` takes images (B, H, W, 3), uint8 or float in [0, 1], bare or in a dict under "images": as
    arrays, or as a tf.data.Dataset, keras PyDataset, PyTorch DataLoader or generator of batches.
    Labels beside the images of a data set are not used.

    `fit`, `evaluate` and the callbacks are Keras's own. Each logged loss is weighted: they add up
    to "loss". Also logged: "psnr" (dB), "codebook_usage" and "codebook_perplexity" of the best
    tokens over the whole epoch (of a `ResidualQuantizer` over the tokens of all stages, with each
    codebook counted by itself), and "adaptive_weight", lambda. In half precision prefer
    mixed_bfloat16: float16 rounds away much of the feature losses' gradients, which loss
    scaling does not reach.

    Args:
        tokenizer: the ImageTokenizer to train, `.tokenizer` afterwards.
        discriminator: maps images in [0, 1] to logits, e.g. `models.PatchDiscriminator()`;
            None trains without an adversary.
        feature_extractor: e.g. `models.VGG19Features("imagenet")`; None trains without
            perceptual and contrastive loss. It sees RGB: grey three times, and of four channels
            the first three.
        l1_weight: factor of the mean absolute difference of images in [0, 1].
        perceptual_weight: factor of the perceptual loss.
        contrastive_weight: factor of the contrastive loss.
        contrastive: "probabilistic" (Reg-VQ's PCL), "plain" or None.
        adversarial_weight: factor of the adaptive weight.
        discriminator_start: steps before the discriminator counts.
        discriminator_ramp: steps until it counts fully.
        contrastive_positions: positions a feature layer that the contrastive loss compares.
        seed: of those positions.

    Example:
        ```python
        tokenizer = keras_regvq.from_preset("regvq_patch4_256")
        trainer = keras_regvq.training.TokenizerTrainer(tokenizer, l1_weight=2.0)
        trainer.compile(optimizer=keras.optimizers.Adam(1e-3))
        trainer.fit(images, batch_size=4, epochs=2)
        trainer.tokenizer.save_to_preset("my_tokenizer")
        ```
    """

    expected_inputs = 'images (B, H, W, 3), bare or in a dict under "images"'
    bare_inputs = "images"
    ignores_targets = True

    def __init__(
        self,
        tokenizer,
        discriminator=None,
        feature_extractor=None,
        l1_weight=2.0,
        perceptual_weight=1.0,
        contrastive_weight=0.1,
        contrastive="probabilistic",
        adversarial_weight=0.8,
        discriminator_start=0,
        discriminator_ramp=1000,
        contrastive_positions=256,
        seed=None,
        **kwargs,
    ):
        # Not cast to half precision: the images are what reconstructions are compared with.
        super().__init__(**{"autocast": False, **kwargs})
        if not isinstance(tokenizer, ImageTokenizer):
            refuse("tokenizer", describe(tokenizer), "a keras_regvq.models.ImageTokenizer")
        channels = getattr(discriminator, "image_channels", tokenizer.image_channels)
        if channels != tokenizer.image_channels:
            expected = f"image_channels={tokenizer.image_channels}, the tokenizer's"
            refuse("discriminator", f"one for images of {channels} channels", expected)
        self.tokenizer = tokenizer
        self.discriminator = discriminator
        self.feature_extractor = feature_extractor
        if feature_extractor is not None:
            freeze(feature_extractor)
        settings = {
            "l1_weight": check_number("l1_weight", l1_weight),
            "perceptual_weight": check_number("perceptual_weight", perceptual_weight),
            "contrastive_weight": check_number("contrastive_weight", contrastive_weight),
            "contrastive": check_choice(
                "contrastive", contrastive, ("probabilistic", "plain", None)
            ),
            "adversarial_weight": check_number("adversarial_weight", adversarial_weight),
            "discriminator_start": check_integer("discriminator_start", discriminator_start, 0),
            "discriminator_ramp": check_integer("discriminator_ramp", discriminator_ramp, 0),
            "contrastive_positions": check_positive_integer(
                "contrastive_positions", contrastive_positions
            ),
            "seed": check_seed("seed", seed),
        }
        for name, value in settings.items():
            setattr(self, name, value)
        self.settings = settings
        self.feature_losses = feature_extractor and FeatureLosses(
            feature_extractor,
            perceptual_weight,
            contrastive_weight,
            contrastive,
            contrastive_positions,
            seed,
        )
        # The losses' random state must be an attribute of a layer to be tracked.
        self.seed_generator = self.feature_losses and self.feature_losses.seed_generator
        self.objective = TokenizerObjective(
            tokenizer,
            discriminator,
            self.feature_losses,
            self.l1_weight,
            self.adversarial_weight,
            self.discriminator_start,
            self.discriminator_ramp,
        )
        self.step = self.add_weight(
            name="step", shape=(), dtype="int32", initializer="zeros", trainable=False
        )
        self.psnr = PSNR(name="psnr")
        codes = {"codebook_size": tokenizer.codebook_size}
        codes["num_codebooks"] = tokenizer.quantizer.num_codebooks
        self.usage, self.perplexity = CodebookUsage(**codes), CodebookPerplexity(**codes)
        self.loss_trackers = {
            name: keras.metrics.Mean(name, dtype="float32") for name in self.objective.logged
        }
        use_fast_layers(self)
        self.built = True

    def trained_part(self):
        return "tokenizer", self.tokenizer

    def select_inputs(self, argument, batch):
        return images_of(batch)

    def check_inputs(self, argument, inputs):
        tokenizer = self.tokenizer
        factor, channels = tokenizer.downsampling_factor, tokenizer.image_channels
        check_image_batches(argument, inputs, factor, channels)

    def call(self, inputs, training=False):
        """Reconstruct a batch.

        Args:
            inputs: images (B, H, W, 3), uint8 or float in [0, 1], bare or under "images".

        Returns:
            dict of what the quantizer returns, its losses as vectors of length 1, and
            "originals" in [0, 1], "decoded" around [-1, 1] and "hidden", the last convolution's
            input.
        """
        images = images_of(inputs)
        factor, channels = self.tokenizer.downsampling_factor, self.tokenizer.image_channels
        check_image_shape_and_dtype("images", images, factor, channels)
        if None in tuple(images.shape[1:3]):
            refuse("images", f"shape {tuple(images.shape)}", "images of one known size")
        originals = ops.cast(unit_float(images), "float32")
        features = self.tokenizer.features(originals, training=training)
        quantized = self.tokenizer.quantizer(features, training=training)
        decoded = self.tokenizer.decoder(quantized["embeddings"], training=training)
        losses = {name: ops.reshape(v, (1,)) for name, v in quantized["losses"].items()}
        return {
            **quantized,
            "losses": losses,
            "originals": originals,
            "decoded": decoded["images"],
            "hidden": decoded["hidden"],
        }

    def batch_loss(self, inputs, outputs, training):
        """The whole objective of one step, as a scalar for Keras to differentiate."""
        total, logged = self.objective(outputs, self.step, training)
        self._update_metrics(outputs, logged)
        if training:
            self.step.assign_add(1)
        return total

    def _update_metrics(self, outputs, logged):
        self.log_means(self.loss_trackers, logged, outputs["originals"])
        self.psnr.update_values(self._psnr_of(outputs))
        self.usage.update_state(outputs["best_tokens"])
        self.perplexity.update_state(outputs["best_tokens"])

    def _psnr_of(self, outputs):
        """dB, (B,), of the clipped reconstructions; NaN for one that is not finite.

        A NaN must not raise here: a float16 step that overflows is skipped, and no more.
        """
        decoded = ops.stop_gradient(unit_range(outputs["decoded"]))
        finite = ops.all(ops.isfinite(decoded), axis=(1, 2, 3))
        images = ops.clip(ops.nan_to_num(decoded), 0.0, 1.0)
        values = peak_signal_to_noise_ratio(outputs["originals"], images)
        return ops.where(finite, values, float("nan"))

    def __setattr__(self, name, value):
        if name in self.__dict__.get("settings", ()):
            raise AttributeError(
                f"{name} is fixed when the trainer is made: make another TokenizerTrainer with "
                f"{name}={value!r}."
            )
        super().__setattr__(name, value)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "tokenizer": serialize(self.tokenizer),
            "discriminator": serialize(self.discriminator),
            "feature_extractor": serialize(self.feature_extractor),
            **self.settings,
        }

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        networks = ("tokenizer", "discriminator", "feature_extractor")
        return cls(**{**config, **{name: deserialize(config[name]) for name in networks}})

"""Semantic image synthesis: from a label map to a picture."""

import hashlib
import math

import keras
import numpy as np
from keras import ops

from keras_regvq.models.autoregressive_prior import AutoregressivePrior
from keras_regvq.models.image_tokenizer import ImageTokenizer
from keras_regvq.models.preset_model import PresetModel
from keras_regvq.models.prior_training import check_first_batch, prior_optimizer, token_loss
from keras_regvq.models.token_cache import tokenize_batches
from keras_regvq.validation import (
    check_image_shape_and_dtype,
    check_images,
    check_mask,
    check_tokens,
    describe,
    refuse,
    unit_float,
)


@keras.saving.register_keras_serializable(package="keras_regvq")
class SemanticToImage(PresetModel):
    """Paints pictures from label maps: an image tokenizer and a prior told of the map.

    `fit` trains the prior; the tokenizer is frozen. Its data are dicts of "images" (B, H, W, 3)
    and "labels" (B, H, W), tokenized on the fly, or of "tokens" (B, h, w) and "labels", which
    `tokenize` makes once. Logged are "loss" (nats) and "bits_per_token".

    Args:
        tokenizer: a trained ImageTokenizer.
        prior: an AutoregressivePrior over its tokens, whose condition takes label maps of the
            tokenizer's image size.

    Raises:
        ValueError: if the two do not fit each other.

    Example:
        condition = LabelMapCondition(num_classes=16, image_size=64)
        prior = AutoregressivePrior(256, tokenizer.token_grid, condition=condition)
        model = SemanticToImage(tokenizer, prior)
        model.compile()
        model.fit(keras_regvq.data.load("scenes", fields=("images", "labels")), epochs=10)
        pictures = model.generate(label_maps, top_p=0.95, seed=0)
    """

    def __init__(self, tokenizer, prior, dtype=None, name=None, trainable=True):
        if not isinstance(tokenizer, ImageTokenizer):
            refuse("tokenizer", describe(tokenizer), "a keras_regvq.models.ImageTokenizer")
        if not isinstance(prior, AutoregressivePrior):
            refuse("prior", describe(prior), "a keras_regvq.models.AutoregressivePrior")
        facts = {
            "codes": (prior.codebook_size, tokenizer.codebook_size),
            "grid": (prior.grid, tokenizer.token_grid),
            "condition of shape": (getattr(prior.condition, "shape", None), tokenizer.image_size),
        }
        for fact, (of_prior, of_tokenizer) in facts.items():
            if of_prior != of_tokenizer:
                refuse("prior", f"{fact} {of_prior}", f"{of_tokenizer}, to fit the tokenizer")
        super().__init__(dtype=dtype, name=name, trainable=trainable)
        tokenizer.trainable = False
        self.tokenizer, self.prior = tokenizer, prior
        self.bits_tracker = keras.metrics.Mean("bits_per_token")
        self.built = True

    def call(self, inputs, training=False):
        """Predict every token from the map and the tokens before it.

        Args:
            inputs: dict of "labels" int (B, H, W), and "tokens" int (B, h, w) or "images".

        Returns:
            dict of "tokens" int32 (B, h, w) and "logits" float32 (B, h * w, N).
        """
        tokens = inputs["tokens"] if "tokens" in inputs else self._tokens_of(inputs["images"])
        labels = ops.cast(inputs["labels"], "int32")
        logits = self.prior({"tokens": tokens, "condition": labels}, training=training)
        return {"tokens": tokens, "logits": logits}

    def _tokens_of(self, images):
        check_image_shape_and_dtype("images", images, self.tokenizer.downsampling_factor)
        images = ops.cast(unit_float(images), "float32")
        features = self.tokenizer.encoder(images * 2.0 - 1.0, training=False)
        return ops.stop_gradient(self.tokenizer.quantizer.best_tokens(features))

    def compile(self, optimizer=None, **kwargs):
        """Configure training of the prior; see `AutoregressivePrior.compile`."""
        super().compile(optimizer=prior_optimizer(optimizer, self.trainable_variables), **kwargs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Mean cross-entropy of the tokens, in nats."""
        loss = token_loss(y_pred["tokens"], y_pred["logits"])
        self.bits_tracker.update_state(ops.stop_gradient(loss) / math.log(2))
        return loss

    def fit(self, x=None, *args, **kwargs):
        """`keras.Model.fit` on a dict of arrays or a dataset of such dicts: see the class.

        Raises:
            ValueError: if arrays, or a tf.data set's first batch, have a wrong shape, dtype or
                range, or an unknown label.
        """
        for argument, data in (("x", x), ("validation_data", kwargs.get("validation_data"))):
            check_first_batch(argument, data, self._check_batch)
        return super().fit(x, *args, **kwargs)

    def _check_batch(self, argument, batch):
        if "labels" not in batch or not {"images", "tokens"} & set(batch):
            expected = 'the keys "labels", and "images" or "tokens"'
            refuse(argument, f"a dict with keys {sorted(batch)}", expected)
        self.prior.condition.check(batch["labels"])
        if "tokens" in batch:
            check_tokens("tokens", batch["tokens"], self.tokenizer.codebook_size)
        else:
            images = check_images("images", batch["images"])
            if images.shape[1:3] != self.tokenizer.image_size:
                expected = f"{self.tokenizer.image_size}, the tokenizer's"
                refuse("images", f"images of {images.shape[1:3]} pixels", expected)

    def tokenize(self, dataset, directory=None, verbose=True):
        """Tokenize a dataset once, for `fit` to read again and again.

        Args:
            dataset: an iterable of dicts of "images" and "labels", such as
                `keras_regvq.data.load(..., fields=("images", "labels"), shuffle=False)`.
            directory: where to keep the tokens; None: in memory only. What is there already is
                checked against this tokenizer and not made again: an interrupted run goes on.
            verbose: whether a progress bar shows.

        Returns:
            dict of "tokens" (n, h, w) and "labels" (n, H, W), of the smallest integer types.
        """

        def encode(batch):
            self._check_batch("dataset", batch)
            return {"tokens": self.tokenizer.encode(batch["images"]), "labels": batch["labels"]}

        return tokenize_batches(dataset, encode, directory, self._fingerprint(), verbose)

    def _fingerprint(self):
        """A digest of all that tokens depend on."""
        digest = hashlib.sha256()
        for part in (self.tokenizer.encoder, self.tokenizer.quantizer):
            for variable in part.trainable_variables + part.non_trainable_variables:
                if variable.dtype.startswith("float"):
                    digest.update(np.ascontiguousarray(ops.convert_to_numpy(variable.value)))
        return digest.hexdigest()

    def generate(self, label_maps, images=None, mask=None, **sampling):
        """Paint pictures of label maps.

        Args:
            label_maps: integers (B, H, W), labels that the prior knows.
            images, mask: to repaint a part: images (B, H, W, 3), and bool (B, H, W), True where
                they are to change. Tokens whose patch the mask touches are drawn anew, all others
                are kept exactly.
            **sampling: temperature, top_k, top_p, guidance_scale, guidance_schedule, seed,
                batch_size and verbose of `AutoregressivePrior.generate`.

        Returns:
            NumPy float32 (B, H, W, 3) in [0, 1].

        Raises:
            ValueError: for a wrong shape or dtype, or an unknown label.
        """
        tokens = token_mask = None
        if (images is None) != (mask is None):
            refuse("mask", "only one of `images` and `mask`", "both or neither")
        if images is not None:
            tokens = self.tokenizer.encode(images)
            height, width = self.tokenizer.image_size
            (h, w), count = self.tokenizer.token_grid, len(tokens)
            mask = check_mask("mask", mask, (count, height, width))
            patches = mask.reshape(count, h, height // h, w, width // w)
            token_mask = patches.any(axis=(2, 4))
        tokens = self.prior.generate(label_maps, tokens=tokens, mask=token_mask, **sampling)
        return self.tokenizer.decode(tokens)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        parts = {"tokenizer": serialize(self.tokenizer), "prior": serialize(self.prior)}
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        parts = {name: deserialize(config[name]) for name in ("tokenizer", "prior")}
        return cls(**{**config, **parts})

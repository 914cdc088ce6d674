"""What every end-to-end generator shares: a frozen tokenizer, and a prior over its tokens."""

import inspect

import keras

from keras_regvq.backend.layer_tree import freeze
from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import check_lengths, check_mask, describe
from keras_regvq.models.generators.token_cache import tokenize_batches
from keras_regvq.models.preset_model import PresetModel
from keras_regvq.models.priors.prior_training import TrainsPrior
from keras_regvq.models.priors.token_prior import TokenPrior
from keras_regvq.models.tokenizers.fingerprint import tokens_fingerprint
from keras_regvq.models.tokenizers.image_tokenizer import ImageTokenizer


class ImageGenerator(TrainsPrior, PresetModel):
    """Base class: `fit` trains the prior on images and what they show; the tokenizer is frozen.

    Data are dicts of "images" (B, H, W, 3), tokenized on the fly, or of "tokens" (B, h, w), which
    `tokenize` makes once; and of `condition_field`. Logged is what the prior logs.

    Args:
        tokenizer: a trained ImageTokenizer.
        prior: a `TokenPrior` over its tokens: AutoregressivePrior, DiffusionPrior or your own.

    Raises:
        ValueError: if the two do not fit each other.
    """

    condition_field = None
    parts = ("tokenizer", "prior")

    def __init__(self, tokenizer, prior, dtype=None, name=None, trainable=True):
        if not isinstance(tokenizer, ImageTokenizer):
            refuse("tokenizer", describe(tokenizer), "a keras_regvq.models.ImageTokenizer")
        if not isinstance(prior, TokenPrior):
            expected = (
                "keras_regvq.models.AutoregressivePrior, DiffusionPrior or another TokenPrior"
            )
            refuse("prior", describe(prior), expected)
        check_fit("codes", prior.codebook_size, tokenizer.codebook_size)
        check_fit("grid", prior.grid, tokenizer.token_grid)
        super().__init__(dtype=dtype, name=name, trainable=trainable)
        freeze(tokenizer)
        self.tokenizer, self.prior = tokenizer, prior
        prior.set_codebook(tokenizer.quantizer.codes())
        self.create_trackers(prior.loss_trackers)
        self.built = True

    def trained_part(self):
        return "prior", self.prior

    def call(self, inputs, training=False):
        """The prior's forward pass.

        Args:
            inputs: dict of `condition_field`, and "tokens" int (B, h, w) or "images".

        Returns:
            dict of "tokens" int32 (B, h, w) and "prior", what the prior makes of them.
        """
        tokens = (
            inputs["tokens"] if "tokens" in inputs else self.tokenizer.tokens_of(inputs["images"])
        )
        condition = inputs[self.condition_field]
        outputs = self.prior({"tokens": tokens, "condition": condition}, training=training)
        return {"tokens": tokens, "prior": outputs}

    def token_losses(self, inputs, outputs):
        """The prior's losses by name."""
        return self.prior.token_losses({"tokens": outputs["tokens"]}, outputs["prior"])

    def select_inputs(self, argument, batch):
        """The condition, and tokens or else images; what else there is stays on the host."""
        batch = super().select_inputs(argument, batch)
        picture = "tokens" if "tokens" in batch else "images"
        if self.condition_field not in batch or picture not in batch:
            expected = f'the keys "{self.condition_field}", and "images" or "tokens"'
            refuse(argument, f"a dict with keys {sorted(batch)}", expected)
        return {name: batch[name] for name in (picture, self.condition_field)}

    def check_inputs(self, argument, inputs):
        """Check a dict of arrays as `call` takes it."""
        self.check_condition(inputs[self.condition_field])
        if "tokens" in inputs:
            self.prior.check_token_grid("tokens", inputs["tokens"])
        else:
            images = self.tokenizer.check_images("images", inputs["images"])
            if images.shape[1:3] != self.tokenizer.image_size:
                expected = f"{self.tokenizer.image_size}, the tokenizer's"
                refuse("images", f"images of {images.shape[1:3]} pixels", expected)
        check_lengths(argument, inputs)

    def check_condition(self, values):
        """Check a batch of `condition_field`."""
        self.prior.condition.check(values, self.condition_field)

    def tokenize(self, dataset, directory=None, verbose=True):
        """Tokenize a dataset once, for `fit` to read again and again.

        Args:
            dataset: an iterable of dicts of "images" and `condition_field`, such as
                `keras_regvq.data.load(..., shuffle=False)` with these two fields; one such dict;
                or None for what `directory` holds already.
            directory: where to keep the tokens; None: in memory only. What is there already is
                checked against this tokenizer and the first of these data, and not made again: an
                interrupted run goes on.
            verbose: whether a progress bar shows.

        Returns:
            dict of "tokens" (n, h, w) and `condition_field`; integers are of the smallest type.

        Raises:
            ValueError: naming the directory, if it holds another tokenizer's tokens, or of other
                data.
        """

        def encode(batch):
            if "images" not in batch:
                refuse("dataset", f"a dict with keys {sorted(batch)}", 'the key "images"')
            batch.pop("tokens", None)
            batch = self.select_inputs("dataset", batch)
            self.check_inputs("dataset", batch)
            tokens = self.tokenizer.encode(batch["images"])
            return {"tokens": tokens, self.condition_field: batch[self.condition_field]}

        dataset = [dataset] if isinstance(dataset, dict) else dataset
        return tokenize_batches(
            dataset, encode, directory, tokens_fingerprint(self.tokenizer), verbose
        )

    def check_sampling_argument(self, name, called=None):
        """Refuse an argument that the prior's `generate` does not take, by the name it goes by."""
        parameters = inspect.signature(self.prior.generate).parameters
        any_name = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        if name not in parameters and not any_name:
            received = f"one, for a prior that is a {type(self.prior).__name__}"
            refuse(called or name, received, "None: this prior's generate does not take it")

    def generate_images(self, condition, images=None, mask=None, **sampling):
        """Sample the prior and decode: what every `generate` ends in.

        Args:
            condition: a batch of what the prior's condition takes.
            images, mask: to regenerate a part: images (B, H, W, 3), and bool (B, H, W), True where
                they are to change; or None. Tokens whose patch the mask touches are drawn anew, all
                others are kept exactly.
            **sampling: of the prior's `generate`; None is the prior's default.

        Returns:
            NumPy float32 (B, H, W, 3) in [0, 1].

        Raises:
            ValueError: for an argument that the prior does not take, or that does not fit.
        """
        sampling = {name: value for name, value in sampling.items() if value is not None}
        for name in sampling:
            self.check_sampling_argument(name)
        size = sampling.get("batch_size", 32)  # of the tokenizer, too
        tokens = token_mask = None
        if (images is None) != (mask is None):
            refuse("mask", "only one of `images` and `mask`", "both or neither")
        if images is not None:
            tokens = self.tokenizer.encode(images, size)
            height, width = self.tokenizer.image_size
            (h, w), count = self.tokenizer.token_grid[:2], len(tokens)
            mask = check_mask("mask", mask, (count, height, width))
            patches = mask.reshape(count, h, height // h, w, width // w)
            token_mask = patches.any(axis=(2, 4))
        tokens = self.prior.generate(condition, tokens=tokens, mask=token_mask, **sampling)
        return self.tokenizer.decode(tokens, size)

    paint = generate_images  # an earlier name

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        parts = {name: serialize(getattr(self, name)) for name in self.parts}
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config):
        parts = {name: config[name] for name in cls.parts}
        for name, part in parts.items():
            if isinstance(part, dict):
                parts[name] = keras.saving.deserialize_keras_object(part)
        return cls(**{**config, **parts})


def check_fit(fact, of_prior, needed, by="tokenizer"):
    """Refuse a prior of which some fact is not as needed."""
    if of_prior != needed:
        refuse("prior", f"{fact} {of_prior}", f"{needed}, to fit the {by}")

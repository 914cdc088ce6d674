"""The autoregressive prior: a transformer that predicts an image's tokens one after the other."""

import functools
import math

import keras
import numpy as np
from keras import layers, ops

from keras_regvq.models.autoregressive_sampling import sample_tokens
from keras_regvq.models.conditions import Condition
from keras_regvq.models.decoder_block import DecoderBlock
from keras_regvq.models.inference import BatchedFunction
from keras_regvq.models.positions import GridPositions
from keras_regvq.models.preset_model import PresetModel
from keras_regvq.models.prior_training import check_first_batch, prior_optimizer, token_loss
from keras_regvq.models.token_choice import guidance_scales
from keras_regvq.validation import (
    check_grid,
    check_mask,
    check_number,
    check_positive_integer,
    check_tokens,
    describe,
    refuse,
)


@keras.saving.register_keras_serializable(package="keras_regvq")
class AutoregressivePrior(PresetModel):
    """A decoder-only transformer over image tokens in raster order.

    The sequence is [condition prefix, start, token 0, ..., token L - 2]; the last L outputs
    predict tokens 0 to L - 1, and the loss counts these alone. Each image input carries the
    learned row and column of the token that it predicts. Esser et al., "Taming Transformers for
    High-Resolution Image Synthesis" (2021), with the condition's patch embedding as a choice
    beside its tokens. Blocks are KerasHub's pre-norm `TransformerDecoder` with GELU.

    Args:
        codebook_size: N, the tokenizer's.
        grid: (h, w) of the tokens, or one int for both.
        num_layers, num_heads, hidden_dim: sizes of the transformer.
        condition: None, or a `ClassCondition`, `LabelMapCondition` or `TokenizedMapCondition`.
        dropout: rate in the blocks while training.
        keep_probability: share of the input tokens that are kept while training; the others are
            replaced by random ones, so that the prior learns to go on from its own mistakes
            (taming's `pkeep`).
        condition_dropout: share of the examples whose condition is hidden while training; above 0
            for classifier-free guidance.
        gradient_checkpointing: compute each block again in the backward pass instead of keeping
            its activations; needs dropout 0.
        seed: of the two random choices.

    Example:
        condition = LabelMapCondition(num_classes=16, image_size=64)
        prior = AutoregressivePrior(256, (16, 16), 6, 8, 256, condition, condition_dropout=0.1)
        prior.compile()
        prior.fit({"tokens": tokens, "condition": label_maps}, batch_size=16, epochs=10)
        tokens = prior.generate(label_maps[:4], guidance_scale=1.5, seed=0)
    """

    def __init__(
        self,
        codebook_size,
        grid,
        num_layers=12,
        num_heads=8,
        hidden_dim=512,
        condition=None,
        dropout=0.0,
        keep_probability=1.0,
        condition_dropout=0.0,
        gradient_checkpointing=False,
        seed=None,
        dtype=None,
        name=None,
        trainable=True,
    ):
        if condition is not None and not isinstance(condition, Condition):
            refuse("condition", describe(condition), "None or a keras_regvq.models.Condition")
        if hidden_dim % num_heads:
            refuse("num_heads", num_heads, f"a divisor of hidden_dim={hidden_dim}")
        if gradient_checkpointing and dropout:
            refuse("dropout", dropout, "0 with gradient_checkpointing")
        super().__init__(dtype=dtype, name=name, trainable=trainable)
        self.settings = {
            "codebook_size": check_positive_integer("codebook_size", codebook_size),
            "grid": check_grid("grid", grid),
            "num_layers": check_positive_integer("num_layers", num_layers),
            "num_heads": check_positive_integer("num_heads", num_heads),
            "hidden_dim": check_positive_integer("hidden_dim", hidden_dim),
            "dropout": check_number("dropout", dropout, 0, 1),
            "keep_probability": check_number("keep_probability", keep_probability, 0, 1),
            "condition_dropout": check_number("condition_dropout", condition_dropout, 0, 1),
            "gradient_checkpointing": bool(gradient_checkpointing),
            "seed": seed,
        }
        self.codebook_size, self.grid = codebook_size, self.settings["grid"]
        self.length = self.grid[0] * self.grid[1]
        self.condition = condition
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._create_layers(keras.dtype_policies.get(dtype or keras.config.dtype_policy()))
        self.bits_tracker = keras.metrics.Mean("bits_per_token")
        self._samplers = {}

    def _create_layers(self, policy):
        width, small = self.settings["hidden_dim"], keras.initializers.RandomNormal(stddev=0.02)
        self.prefix_length = 0
        if self.condition is not None:
            self.condition.build_for(self.grid, width)
            self.prefix_length = self.condition.prefix_length
        # One more than there are codes: the last entry is the start.
        self.embedding = layers.Embedding(
            self.codebook_size + 1, width, small, name="embedding", dtype=policy
        )
        self.embedding.build()
        self.positions = GridPositions(self.grid, width, name="positions", dtype=policy)
        self.positions.build()
        # What stands in the condition's place where it is hidden: in the prefix, and aligned.
        self.no_condition = None
        if self.condition is not None and self.settings["condition_dropout"]:
            self.no_condition = layers.Embedding(2, width, small, name="no_condition", dtype=policy)
            self.no_condition.build()
        self.blocks = [
            DecoderBlock(
                width,
                self.settings["num_heads"],
                self.settings["dropout"],
                name=f"block_{index}",
                dtype=policy,
            )
            for index in range(self.settings["num_layers"])
        ]
        for block in self.blocks:
            block.build((None, self.prefix_length + self.length, width))
        self.norm = layers.LayerNormalization(epsilon=1e-5, name="norm", dtype=policy)
        self.norm.build((None, None, width))
        # Logits decide what is sampled: float32 under any policy.
        self.head = layers.Dense(
            self.codebook_size,
            use_bias=False,
            kernel_initializer=small,
            name="head",
            dtype="float32",
        )
        self.head.build((None, None, width))
        self.built = True

    def call(self, inputs, training=False):
        """Logits of every token, each given the tokens before it.

        Args:
            inputs: dict of "tokens" int32 (B, h, w), and "condition" where there is one.
            training: replace tokens and hide conditions at random.

        Returns:
            float32 (B, h * w, N).
        """
        tokens = ops.reshape(ops.cast(inputs["tokens"], "int32"), (-1, self.length))
        batch = ops.shape(tokens)[0]
        hidden = None
        if training:
            tokens = self._replace_some(tokens)
            if self.no_condition is not None:
                uniform = keras.random.uniform((batch,), seed=self.seed_generator)
                hidden = uniform < self.settings["condition_dropout"]
        start = ops.full((batch, 1), self.codebook_size, dtype="int32")
        previous = ops.concatenate([start, tokens[:, :-1]], axis=1)
        x = self.positions(self.embedding(previous))
        prefix, aligned = self.embed_condition(inputs.get("condition"), hidden)
        if aligned is not None:
            x = x + aligned
        if prefix is not None:
            x = ops.concatenate([prefix, x], axis=1)
        for block in self.blocks:
            run = functools.partial(block, training=training)
            x = keras.remat(run)(x) if self.settings["gradient_checkpointing"] else run(x)
        return self.head(self.norm(x[:, self.prefix_length :]))

    def _replace_some(self, tokens):
        if self.settings["keep_probability"] == 1:
            return tokens
        uniform = keras.random.uniform(ops.shape(tokens), seed=self.seed_generator)
        others = keras.random.randint(
            ops.shape(tokens), 0, self.codebook_size, dtype="int32", seed=self.seed_generator
        )
        return ops.where(uniform < self.settings["keep_probability"], tokens, others)

    def embed_condition(self, values, hidden=None):
        """(prefix (B, P, D) or None, aligned (B, L, D) or None) of a batch of conditions.

        Args:
            values: what `self.condition` takes; None without one.
            hidden: bool (B,), True where the condition is to be hidden; None: nowhere.
        """
        if self.condition is None:
            return None, None
        embedded = []
        for index, part in enumerate(self.condition(ops.cast(values, "int32"))):
            if part is not None:
                part = ops.cast(part, self.embedding.compute_dtype)
                if hidden is not None:
                    absent = ops.cast(self.no_condition.embeddings, part.dtype)
                    part = ops.where(hidden[:, None, None], absent[index], part)
            embedded.append(part)
        return tuple(embedded)

    def compile(self, optimizer=None, **kwargs):
        """Configure training.

        Args:
            optimizer: default AdamW(3e-4, weight_decay=0.01, beta_2=0.95). Its weight decay
                applies to the matrices of the layers alone, not to embeddings, norms and biases.
            **kwargs: of `keras.Model.compile`.
        """
        super().compile(optimizer=prior_optimizer(optimizer, self.trainable_variables), **kwargs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Mean cross-entropy of the tokens in nats; logged in bits as "bits_per_token"."""
        loss = token_loss(x["tokens"], y_pred)
        self.bits_tracker.update_state(ops.stop_gradient(loss) / math.log(2))
        return loss

    def fit(self, x=None, *args, **kwargs):
        """`keras.Model.fit` on {"tokens": (n, h, w), "condition": ...}, or a dataset of such dicts.

        Raises:
            ValueError: if arrays have a wrong shape, dtype or range.
        """
        for argument, data in (("x", x), ("validation_data", kwargs.get("validation_data"))):
            check_first_batch(argument, data, self.check_inputs)
        return super().fit(x, *args, **kwargs)

    def check_inputs(self, argument, inputs):
        """Check a dict of arrays as `call` takes it."""
        expected = {"tokens"} if self.condition is None else {"tokens", "condition"}
        if set(inputs) != expected:
            refuse(argument, f"a dict with keys {sorted(inputs)}", f"the keys {sorted(expected)}")
        self._check_token_grid("tokens", inputs["tokens"])
        if self.condition is not None:
            self.condition.check(inputs["condition"])

    def _check_token_grid(self, argument, tokens):
        tokens = check_tokens(argument, tokens, self.codebook_size)
        if tokens.shape[1:] != self.grid:
            refuse(argument, f"a grid {tokens.shape[1:]}", f"the prior's grid {self.grid}")
        return tokens

    def generate(
        self,
        condition=None,
        num_samples=None,
        temperature=1.0,
        top_k=None,
        top_p=None,
        guidance_scale=1.0,
        guidance_schedule="constant",
        seed=None,
        tokens=None,
        mask=None,
        batch_size=32,
        verbose="auto",
    ):
        """Sample tokens.

        Args:
            condition: a batch of what `self.condition` takes; None without one.
            num_samples: how many, for a prior without condition [1].
            temperature: divides the logits; 0 takes the likeliest token.
            top_k: draw from the k likeliest tokens only.
            top_p: draw from the likeliest tokens that together have this probability.
            guidance_scale: classifier-free guidance; 1 is none. Needs a prior that was trained
                with `condition_dropout`.
            guidance_schedule: "constant", "linear", "cosine" or a function: `guidance_scales`.
            seed: int; the same seed gives the same tokens.
            tokens, mask: to regenerate a part: integers (B, h, w) of an image, and bool (B, h, w),
                True where new tokens are to be drawn; all others are kept exactly.
            batch_size: samples drawn at once.
            verbose: whether a progress bar shows; "auto": if there are several batches.

        Returns:
            NumPy int32 (B, h, w).

        Raises:
            ValueError: for an argument that does not fit.
        """
        batch = self._check_sampling_inputs(condition, num_samples, tokens, mask)
        count = len(batch["tokens"])
        temperature = check_number("temperature", temperature)
        if temperature == 0:
            temperature, top_k = 1.0, 1
        if top_k is not None:
            top_k = min(check_positive_integer("top_k", top_k), self.codebook_size)
        if top_p is not None:
            batch["top_p"] = np.full(count, check_number("top_p", top_p, 0, 1), "float32")
        scales = guidance_scales(guidance_scale, guidance_schedule, self.length)
        guided = bool((scales != 1).any())
        if guided:
            if self.no_condition is None:
                expected = "1, for a prior that was not trained with condition_dropout"
                refuse("guidance_scale", guidance_scale, expected)
            batch["guidance"] = np.broadcast_to(scales, (count, self.length))
        batch["temperature"] = np.full(count, temperature, "float32")
        # At least one below 1, in float32: 1 would be above every cumulated probability.
        uniform = np.random.default_rng(seed).random((count, self.length), dtype="float32")
        batch["uniform"] = uniform

        key = (top_k, top_p is not None, guided)
        if key not in self._samplers:
            self._samplers[key] = BatchedFunction(
                self, functools.partial(sample_tokens, self, top_k=top_k)
            )
        drawn = self._samplers[key](batch, batch_size, verbose)
        return drawn.reshape(-1, *self.grid).astype("int32")

    def _check_sampling_inputs(self, condition, num_samples, tokens, mask):
        """The arrays "tokens" and "mask" (B, L), and "condition" where there is one."""
        batch = {}
        if self.condition is None:
            if condition is not None:
                refuse("condition", describe(condition), "None for a prior without condition")
            count = len(tokens) if tokens is not None else num_samples or 1
            count = check_positive_integer("num_samples", count)
        else:
            if condition is None:
                refuse("condition", "None", f"what a {type(self.condition).__name__} takes")
            batch["condition"] = self.condition.check(condition)
            count = len(batch["condition"])
        if (tokens is None) != (mask is None):
            refuse("mask", "only one of `tokens` and `mask`", "both or neither")
        if tokens is None:
            tokens, mask = np.zeros((count, *self.grid), "int32"), np.ones((count, *self.grid))
        tokens = self._check_token_grid("tokens", tokens)
        if len(tokens) != count:
            refuse("tokens", f"{len(tokens)} examples", f"{count}, as many as conditions")
        mask = check_mask("mask", mask, tokens.shape)
        return {
            **batch,
            "tokens": tokens.reshape(count, self.length),
            "mask": mask.reshape(count, self.length),
        }

    def get_config(self):
        config = super().get_config()
        condition = keras.saving.serialize_keras_object(self.condition)
        return {**config, **self.settings, "condition": condition}

    @classmethod
    def from_config(cls, config):
        condition = config["condition"] and keras.saving.deserialize_keras_object(
            config["condition"]
        )
        return cls(**{**config, "condition": condition})

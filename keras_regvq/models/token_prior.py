"""What every prior over image tokens shares: its data, its condition, its training."""

import math

import keras
import numpy as np
from keras import ops

from keras_regvq.models.conditions import Condition
from keras_regvq.models.preset_model import PresetModel
from keras_regvq.models.prior_training import check_first_batch, prior_optimizer, token_loss
from keras_regvq.random_state import SavesRandomState
from keras_regvq.validation import (
    check_grid,
    check_mask,
    check_number,
    check_positive_integer,
    check_tokens,
    describe,
    refuse,
)


class TokenPrior(SavesRandomState, PresetModel):
    """Base class: a distribution over grids of tokens, given a condition.

    `fit` takes {"tokens": (n, h, w)}, with "condition" where there is one. A subclass maps such a
    dict to logits (B, h * w, N) in `call`, and has `generate`.

    Args:
        codebook_size: N, the tokenizer's.
        grid: (h, w) of the tokens, or one int for both.
        condition: None, or a `Condition`.
        condition_dropout: share of the examples whose condition is hidden while training.
        seed: of the random choices while training.
        dtype: policy of the network; default the global policy.
    """

    def __init__(
        self,
        codebook_size,
        grid,
        condition=None,
        condition_dropout=0.0,
        seed=None,
        dtype=None,
        **kwargs,
    ):
        if condition is not None and not isinstance(condition, Condition):
            refuse("condition", describe(condition), "None or a keras_regvq.models.Condition")
        settings = {
            "codebook_size": check_positive_integer("codebook_size", codebook_size),
            "grid": check_grid("grid", grid),
            "condition_dropout": check_number("condition_dropout", condition_dropout, 0, 1),
            "seed": seed,
        }
        super().__init__(dtype=dtype, **kwargs)
        self.settings, self.condition = settings, condition
        self.codebook_size, self.grid = settings["codebook_size"], settings["grid"]
        self.length = self.grid[0] * self.grid[1]
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.bits_tracker = keras.metrics.Mean("bits_per_token")
        self._samplers = {}

    def compile(self, optimizer=None, **kwargs):
        """Configure training.

        Args:
            optimizer: a keras Optimizer; default `prior_training.prior_optimizer`'s AdamW. Weight
                decay applies to the layers' matrices alone.
            **kwargs: of `keras.Model.compile`.
        """
        super().compile(optimizer=prior_optimizer(optimizer, self.trainable_variables), **kwargs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Mean cross-entropy of the tokens in nats; logged in bits as "bits_per_token"."""
        loss = token_loss(x["tokens"], y_pred)
        self.bits_tracker.update_state(ops.stop_gradient(loss) / math.log(2))
        return loss

    def fit(self, x=None, *args, **kwargs):
        """`keras.Model.fit` on a dict of arrays, or a dataset of such dicts.

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
        self.check_token_grid("tokens", inputs["tokens"])
        if self.condition is not None:
            self.condition.check(inputs["condition"])

    def check_token_grid(self, argument, tokens):
        """Return tokens as int32 (B, h, w) of this prior's codes and grid."""
        tokens = check_tokens(argument, tokens, self.codebook_size)
        if tokens.shape[1:] != self.grid:
            refuse(argument, f"a grid {tokens.shape[1:]}", f"the prior's grid {self.grid}")
        return tokens

    def sampling_batch(self, condition, num_samples, tokens, mask):
        """Check what is to be sampled.

        Args:
            condition, num_samples, tokens, mask: as `generate` takes them.

        Returns:
            dict of "tokens" int32 and "mask" bool (B, L), and "condition" where there is one.
        """
        batch = {}
        if self.condition is not None:
            if condition is None:
                refuse("condition", "None", f"what a {type(self.condition).__name__} takes")
            batch["condition"] = self.condition.check(condition)
            count = len(batch["condition"])
        elif condition is not None:
            refuse("condition", describe(condition), "None for a prior without condition")
        elif tokens is not None:
            count = len(tokens)
        else:
            count = check_positive_integer("num_samples", 1 if num_samples is None else num_samples)
        if (tokens is None) != (mask is None):
            refuse("mask", "only one of `tokens` and `mask`", "both or neither")
        if tokens is None:
            tokens, mask = np.zeros((count, *self.grid), "int32"), np.ones((count, *self.grid))
        tokens = self.check_token_grid("tokens", tokens)
        if len(tokens) != count:
            refuse("tokens", f"{len(tokens)} examples", f"{count}, as many as conditions")
        mask = check_mask("mask", mask, tokens.shape)
        flat = (count, self.length)
        return {**batch, "tokens": tokens.reshape(flat), "mask": mask.reshape(flat)}

    def get_config(self):
        condition = keras.saving.serialize_keras_object(self.condition)
        return {**super().get_config(), **self.settings, "condition": condition}

    @classmethod
    def from_config(cls, config):
        condition = config["condition"]
        if condition is not None:
            condition = keras.saving.deserialize_keras_object(condition)
        return cls(**{**config, "condition": condition})

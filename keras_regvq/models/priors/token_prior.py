"""What every prior over image tokens shares: its data, its condition, its training."""

import math

import keras
from keras import layers, ops

from keras_regvq.backend.random_state import SavesRandomState, SeedGenerator
from keras_regvq.checks.arguments import (
    check_number,
    check_positive_integer,
    check_seed,
    refuse,
)
from keras_regvq.checks.arrays import check_lengths, describe
from keras_regvq.models.conditions.condition import Condition
from keras_regvq.models.preset_model import PresetModel
from keras_regvq.models.priors.layout_map import prior_layout_map
from keras_regvq.models.priors.prior_training import TrainsPrior
from keras_regvq.models.priors.sampling_batch import sampling_batch
from keras_regvq.models.priors.token_grids import (
    check_prior_grid,
    check_tokens_on,
    for_each_token,
)


class TokenPrior(TrainsPrior, SavesRandomState, PresetModel):
    """Base class: a distribution over grids of tokens, given a condition.

    With q tokens a position (`ResidualQuantizer`) it is one over h * w * q tokens in that order,
    those of a position one after the other; each of them gets the position's condition.

    `fit` takes {"tokens": (n, *grid)}, with "condition" where there is one. A subclass maps such a
    dict in `call` to what its `token_losses` need, besides the tokens; calls `keep_settings`,
    `create_condition` and `create_trackers`; and has `generate`. Inside a generator of images
    `token_losses` gets the tokens without the condition.

    Args:
        codebook_size: N, the tokenizer's.
        grid: (h, w) or (h, w, q) of the tokens, or one int for both sides.
        condition: None, or a `Condition`.
        condition_dropout: share of the examples whose condition is dropped while training.
        seed: of the random choices while training.
        dtype: policy of the network; default the global policy.

    Example:
        ```python
        # Each token is drawn by its frequency, whatever the others are.
        class Unigram(keras_regvq.models.TokenPrior):
            def __init__(self, codebook_size, grid, **kwargs):
                super().__init__(codebook_size, grid, **kwargs)
                self.logits = self.add_weight((codebook_size,), "zeros", name="logits")
                self.create_condition(1)
                self.create_trackers(())
                self.built = True

            def call(self, inputs, training=False):
                return keras.ops.log_softmax(self.logits)

            def token_losses(self, inputs, outputs):
                return {"loss": -keras.ops.mean(keras.ops.take(outputs, inputs["tokens"]))}

            def generate(self, num_samples=1, seed=None):
                chances = keras.ops.convert_to_numpy(keras.ops.softmax(self.logits))
                shape = (num_samples, *self.grid)
                return np.random.default_rng(seed).choice(self.codebook_size, shape, p=chances)

        prior = Unigram(256, (4, 4))
        prior.compile(keras.optimizers.Adam(0.1))
        prior.fit({"tokens": np.zeros((8, 4, 4), "int32")}, batch_size=4)
        tokens = prior.generate(num_samples=2, seed=0)  # (2, 4, 4)
        ```
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
            "grid": check_prior_grid(grid),
            "condition_dropout": check_number("condition_dropout", condition_dropout, 0, 1),
            "seed": check_seed("seed", seed),
        }
        super().__init__(dtype=dtype, **kwargs)
        self.settings, self.condition = {}, condition
        self.keep_settings(**settings)
        self.length = math.prod(self.grid)
        self.seed_generator = SeedGenerator(seed)
        self._samplers = {}

    def keep_settings(self, **settings):
        """Keep arguments of the constructor, for `get_config`, and as attributes of their names."""
        self.settings.update(settings)
        for name, value in settings.items():
            if name != "process":  # which is the layer itself
                setattr(self, name, value)

    def create_condition(self, hidden_dim):
        """Build the condition for this prior, and what stands in its place where it is dropped."""
        self.no_condition = None
        if self.condition is None:
            return
        # Keras's PyTorch backend finds weights by their paths: no two may have the same.
        with keras.name_scope("condition"):
            self.condition.build_for(self.grid[:2], hidden_dim)
        if self.settings["condition_dropout"]:
            # One vector in the prefix, one for what is aligned with the tokens.
            self.no_condition = layers.Embedding(
                2,
                hidden_dim,
                keras.initializers.RandomNormal(stddev=0.02),
                name="no_condition",
                dtype=self.dtype_policy,
            )
            self.no_condition.build()

    def set_codebook(self, codebook):
        """Take over what a prior needs of the tokenizer's codebook (N, d): nothing."""

    def draw_condition_dropout(self, batch):
        """bool (B,) drawn while training, True where the condition is dropped; or None."""
        if self.no_condition is None:
            return None
        uniform = keras.random.uniform((batch,), dtype="float32", seed=self.seed_generator)
        return uniform < self.settings["condition_dropout"]

    def embed_condition(self, values, dropped=None):
        """Embed a batch of conditions.

        Args:
            values: what `self.condition` takes; None without one.
            dropped: bool (B,), True where the condition is dropped; None: nowhere.

        Returns:
            prefix (B, P, D) or None; aligned (B, L, D) or None; mask bool (B, P), True where the
            prefix says something, or None if it does so everywhere.
        """
        if self.condition is None:
            return None, None, None
        values = ops.cast(values, self.condition.values_dtype)
        embedded = []
        for index, part in enumerate(self.condition(values)):
            if part is not None:
                part = ops.cast(part, self.compute_dtype)
                part = for_each_token(part, self.grid) if index == 1 else part
                if dropped is not None:
                    absent = ops.cast(self.no_condition.embeddings, part.dtype)
                    part = ops.where(dropped[:, None, None], absent[index], part)
            embedded.append(part)
        mask = self.condition.prefix_mask(values)
        if mask is not None and dropped is not None:
            mask = mask | dropped[:, None]
        return *embedded, mask

    def check_inputs(self, argument, inputs):
        """Check a dict of arrays as `call` takes it."""
        expected = {"tokens"} if self.condition is None else {"tokens", "condition"}
        if set(inputs) != expected:
            refuse(argument, f"a dict with keys {sorted(inputs)}", f"the keys {sorted(expected)}")
        self.check_token_grid("tokens", inputs["tokens"])
        if self.condition is not None:
            self.condition.check(inputs["condition"])
        check_lengths(argument, inputs)

    def check_token_grid(self, argument, tokens):
        """Return tokens as int32 (B, *grid) of this prior's codes and grid."""
        return check_tokens_on(self.grid, argument, tokens, self.codebook_size)

    def check_guidable(self, guidance_scale):
        """Refuse guidance of a prior that was trained without condition_dropout."""
        if self.no_condition is None:
            expected = "1, for a prior that was not trained with condition_dropout"
            refuse("guidance_scale", guidance_scale, expected)

    def sampling_batch(self, condition, num_samples, tokens, mask):
        """Check what is to be sampled.

        Args:
            condition, num_samples, tokens, mask: as `generate` takes them.

        Returns:
            dict of "tokens" int32 and "mask" bool (B, L), and "condition" where there is one.
        """
        return sampling_batch(self, condition, num_samples, tokens, mask)

    @staticmethod
    def get_layout_map(
        device_mesh, model_parallel_dim_name="model", data_parallel_dim_name="batch"
    ):
        """A `keras.distribution.LayoutMap` for `keras.distribution.ModelParallel`, on JAX.

        Attention heads, the transformers' hidden units and the residual blocks' channels are
        divided among the devices; their numbers must be divisible.

        Args:
            device_mesh: `keras.distribution.DeviceMesh` with the two axes named below.
            model_parallel_dim_name: axis along which weights are divided.
            data_parallel_dim_name: axis along which examples are.

        Raises:
            ValueError: for what is no such mesh.

        Example:
            ```python norun
            mesh = keras.distribution.DeviceMesh((1, 4), ("batch", "model"))  # 4 devices
            layout = keras_regvq.models.AutoregressivePrior.get_layout_map(mesh)
            keras.distribution.set_distribution(
                keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
            )
            prior = keras_regvq.models.AutoregressivePrior(512, (16, 16))  # afterwards
            ```
        """
        return prior_layout_map(device_mesh, model_parallel_dim_name, data_parallel_dim_name)

    def get_config(self):
        condition = keras.saving.serialize_keras_object(self.condition)
        return {**super().get_config(), **self.settings, "condition": condition}

    @classmethod
    def from_config(cls, config):
        condition = config["condition"]
        if condition is not None:
            condition = keras.saving.deserialize_keras_object(condition)
        return cls(**{**config, "condition": condition})

"""Text as a prior's condition: the features of a frozen language model."""

import keras
import numpy as np
from keras import layers, ops

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.models.conditions.condition import Condition


@keras.saving.register_keras_serializable(package="keras_regvq")
class TextFeatureCondition(Condition):
    """A caption as the features of a frozen language model, of which only a projection is trained.

    Takes floats (B, T, feature_dim), zero vectors where the caption is over, as
    `text_encoders.PretrainedTextEncoder` makes them.

    Args:
        max_length: T.
        feature_dim: width of the features.

    Example:
        ```python
        condition = keras_regvq.models.TextFeatureCondition(max_length=6, feature_dim=32)
        prior = keras_regvq.models.DiffusionPrior(256, (4, 4), channels=32, condition=condition)
        features = np.random.default_rng(0).normal(size=(2, 6, 32))  # a language model's
        tokens = prior.generate(features, num_steps=4, seed=0)  # int32 (2, 4, 4)
        ```
    """

    values_dtype = "float32"

    def __init__(self, max_length, feature_dim, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.max_length = check_positive_integer("max_length", max_length)
        self.prefix_length = self.max_length
        self.feature_dim = check_positive_integer("feature_dim", feature_dim)
        self.shape = (self.prefix_length, self.feature_dim)

    def build_for(self, grid, hidden_dim):
        self.norm = layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy)
        self.norm.build((None, *self.shape))
        self.projection = layers.Dense(hidden_dim, dtype=self.dtype_policy)
        self.projection.build((None, *self.shape))
        self.built = True

    def check(self, values, argument="condition"):
        values = ops.convert_to_numpy(values)
        if values.ndim != 3 or values.shape[1:] != self.shape or values.dtype.kind != "f":
            refuse(argument, describe(values), f"floats of shape (B, *{self.shape})")
        if not np.isfinite(values).all():
            refuse(argument, "features that are NaN or infinite", "finite floats")
        return values.astype("float32")

    def call(self, values):
        return self.projection(self.norm(values)), None

    def prefix_mask(self, values):
        return ops.any(values != 0, axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "max_length": self.prefix_length,
            "feature_dim": self.feature_dim,
        }

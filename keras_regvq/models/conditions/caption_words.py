"""Text as a prior's condition: word numbers, read by a transformer that trains with the prior."""

import keras
import keras_hub
from keras import layers, ops

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.checks.arrays import check_tokens, describe
from keras_regvq.models.conditions.condition import Condition
from keras_regvq.models.priors.autoregressive.decoder_block import gelu


@keras.saving.register_keras_serializable(package="keras_regvq")
class WordCondition(Condition):
    """A caption as word numbers, read by a small transformer that is trained with the prior.

    Takes integers (B, T) in [0, vocabulary_size), 0 where the caption is over, as
    `text_encoders.VocabularyEncoder` makes them. A convolution tells each word its neighbours
    before the transformer reads them: otherwise "a red boat and a blue car" is hardly more than
    the set of its words even after hours of training, and colours go to the wrong objects.

    Args:
        vocabulary_size: how many numbers there are.
        max_length: T.
        num_layers, num_heads: of the transformer.
        kernel_size: of the convolution, in words, an odd number; 1 for none.

    Raises:
        ValueError: for an argument that does not fit.

    Example:
        ```python
        captions = ["a yellow boat at night", "a blue car in the snow"]
        encoder = keras_regvq.models.VocabularyEncoder.from_captions(captions)
        condition = keras_regvq.models.WordCondition(encoder.vocabulary_size, encoder.max_length)
        prior = keras_regvq.models.DiffusionPrior(256, (4, 4), channels=32, condition=condition)
        tokens = prior.generate(encoder.encode(captions), num_steps=4, seed=0)  # int32 (2, 4, 4)
        ```
    """

    def __init__(
        self, vocabulary_size, max_length, num_layers=2, num_heads=4, kernel_size=3, **kwargs
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = check_positive_integer("vocabulary_size", vocabulary_size)
        self.max_length = check_positive_integer("max_length", max_length)
        self.prefix_length = self.max_length
        self.shape = (self.prefix_length,)
        self.num_layers = check_positive_integer("num_layers", num_layers)
        self.num_heads = check_positive_integer("num_heads", num_heads)
        self.kernel_size = check_positive_integer("kernel_size", kernel_size)
        if self.kernel_size % 2 == 0:
            refuse("kernel_size", kernel_size, "an odd number of words")

    def build_for(self, grid, hidden_dim):
        small = keras.initializers.RandomNormal(stddev=0.02)
        policy, shape = {"dtype": self.dtype_policy}, (None, self.prefix_length, hidden_dim)
        self.embedding = keras_hub.layers.TokenAndPositionEmbedding(
            self.vocabulary_size, self.prefix_length, hidden_dim, True, small, **policy
        )
        self.embedding.build((None, self.prefix_length))
        self.blocks = [
            keras_hub.layers.TransformerEncoder(
                4 * hidden_dim,
                self.num_heads,
                activation=gelu,
                kernel_initializer=small,
                normalize_first=True,
                **policy,
            )
            for _ in range(self.num_layers)
        ]
        self.norm = layers.LayerNormalization(epsilon=1e-5, **policy)
        for layer in (*self.blocks, self.norm):
            layer.build(shape)
        if self.kernel_size > 1:
            # Zero at first, and its weights the last: a network without it gains one unchanged.
            self.neighbours = layers.Conv1D(
                hidden_dim, self.kernel_size, padding="same", kernel_initializer="zeros", **policy
            )
            self.neighbours.build(shape)
        self.built = True

    def check(self, values, argument="condition"):
        values = check_tokens(argument, values, self.vocabulary_size, "(B, T)", "word numbers")
        if values.shape[1] != self.prefix_length:
            refuse(argument, describe(values), f"word numbers (B, {self.prefix_length})")
        return values

    def call(self, values):
        x, mask = self.embedding(values), self.prefix_mask(values)
        if self.kernel_size > 1:
            x = x + self.neighbours(ops.where(mask[..., None], x, 0))
        for block in self.blocks:
            x = block(x, padding_mask=mask)
        return self.norm(x), None

    def prefix_mask(self, values):
        return values != 0

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "max_length": self.prefix_length,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "kernel_size": self.kernel_size,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{"kernel_size": 1, **config})  # one of before there was a convolution

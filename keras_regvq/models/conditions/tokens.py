"""A condition that is a sequence of tokens before the image's, as a language model has it."""

import math

import keras
from keras import layers, ops

from keras_regvq.backend.layer_tree import freeze
from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.checks.arrays import check_tokens, describe
from keras_regvq.models.conditions.condition import Condition
from keras_regvq.models.tokenizers.label_map_tokenizer import LabelMapTokenizer, check_label_maps


@keras.saving.register_keras_serializable(package="keras_regvq")
class TokenCondition(Condition):
    """Condition tokens of which the last one stands where an image's sequence starts.

    The layout of taming-transformers' minGPT (Esser et al., 2021), for its checkpoints and models
    that are to be like them: [c_1, ..., c_P, z_0, ..., z_{L-2}], in which the output at c_P
    predicts z_0. `presets.load_net2net` makes priors with it; for new ones `TokenizedMapCondition`
    leaves the start to the prior.

    Takes class labels, integers (B,), or with a tokenizer label maps (B, H, W).

    Args:
        vocabulary_size: how many condition tokens there are.
        tokenizer: a trained LabelMapTokenizer, frozen here; None for class labels.

    Example:
        ```python
        condition = keras_regvq.models.TokenCondition(vocabulary_size=10)  # class labels
        prior = keras_regvq.models.AutoregressivePrior(
            256, (4, 4), 1, 2, 32, condition, position_embedding="full", activation="gelu"
        )
        tokens = prior.generate([3, 7], seed=0)  # int32 (2, 4, 4)
        ```
    """

    is_aligned = True

    def __init__(self, vocabulary_size, tokenizer=None, **kwargs):
        super().__init__(**kwargs)
        self.vocabulary_size = check_positive_integer("vocabulary_size", vocabulary_size)
        self.tokenizer, self.shape, length = tokenizer, (), 1
        if tokenizer is not None:
            if not isinstance(tokenizer, LabelMapTokenizer):
                refuse("tokenizer", describe(tokenizer), "a keras_regvq.models.LabelMapTokenizer")
            freeze(tokenizer)
            self.shape = tokenizer.image_size
            length = math.prod(tokenizer.token_grid)
        self.prefix_length = length - 1

    def build_for(self, grid, hidden_dim):
        policy = {"dtype": self.dtype_policy}
        self.length = grid[0] * grid[1]
        self.embedding = layers.Embedding(self.vocabulary_size, hidden_dim, **policy)
        self.embedding.build()
        self.positions = None
        if self.prefix_length:
            self.positions = layers.Embedding(self.prefix_length, hidden_dim, **policy)
            self.positions.build()
        self.built = True

    def check(self, values, argument="condition"):
        if self.tokenizer is None:
            return check_tokens(argument, values, self.vocabulary_size, "(B,)", "class labels")
        return check_label_maps(argument, values, self.tokenizer.num_classes, self.shape)

    def call(self, values):
        tokens = values if self.tokenizer is None else self.tokenizer.tokens_of(values)
        embedded = self.embedding(ops.reshape(tokens, (-1, self.prefix_length + 1)))
        first = ops.pad(embedded[:, -1:], [[0, 0], [0, self.length - 1], [0, 0]])
        if self.positions is None:
            return None, first
        return embedded[:, :-1] + self.positions(
            ops.arange(self.prefix_length, dtype="int32")
        ), first

    @property
    def metrics(self):
        """None: the tokenizer's own are not the prior's to report."""
        return []

    def get_config(self):
        tokenizer = self.tokenizer and keras.saving.serialize_keras_object(self.tokenizer)
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "tokenizer": tokenizer,
        }

    @classmethod
    def from_config(cls, config):
        tokenizer = config["tokenizer"]
        if tokenizer is not None:
            tokenizer = keras.saving.deserialize_keras_object(tokenizer)
        return cls(**{**config, "tokenizer": tokenizer})

"""A label map as a prior's condition, as tokens of its own tokenizer."""

import math

import keras
from keras import layers, ops

from keras_regvq.backend.layer_tree import freeze
from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.models.conditions.condition import Condition
from keras_regvq.models.layers.grid_positions import GridPositions
from keras_regvq.models.tokenizers.label_map_tokenizer import LabelMapTokenizer, check_label_maps


@keras.saving.register_keras_serializable(package="keras_regvq")
class TokenizedMapCondition(Condition):
    """A label map, as the tokens of its own tokenizer. Takes integers (B, H, W).

    As VQ-GAN does it (Esser et al., 2021): a trained `LabelMapTokenizer`, frozen here, turns the
    map into tokens, whose embeddings are the prefix.

    Args:
        tokenizer: a trained LabelMapTokenizer.

    Example:
        ```python
        maps = keras_regvq.data.scenes(2, size=64)["labels"]  # int32 (2, 64, 64)
        quantizer = keras_regvq.quantizers.VectorQuantizer(codebook_size=32, embedding_dim=16)
        map_tokenizer = keras_regvq.models.LabelMapTokenizer(  # to be trained first
            16, 64, quantizer, base_channels=8, channel_multipliers=(1, 1, 1, 1, 1)
        )
        condition = keras_regvq.models.TokenizedMapCondition(map_tokenizer)  # 4 x 4 tokens
        prior = keras_regvq.models.AutoregressivePrior(256, (4, 4), 1, 2, 32, condition)
        tokens = prior.generate(maps, seed=0)  # int32 (2, 4, 4)
        ```
    """

    def __init__(self, tokenizer, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(tokenizer, LabelMapTokenizer):
            refuse("tokenizer", describe(tokenizer), "a keras_regvq.models.LabelMapTokenizer")
        self.tokenizer = tokenizer
        freeze(tokenizer)
        self.shape = tokenizer.image_size
        self.prefix_length = math.prod(tokenizer.token_grid)

    def build_for(self, grid, hidden_dim):
        policy = {"dtype": self.dtype_policy}
        self.embedding = layers.Embedding(self.tokenizer.codebook_size, hidden_dim, **policy)
        self.embedding.build()
        self.positions = GridPositions(self.tokenizer.token_grid, hidden_dim, **policy)
        self.positions.build()
        self.built = True

    def check(self, values, argument="condition"):
        return check_label_maps(argument, values, self.tokenizer.num_classes, self.shape)

    def call(self, values):
        tokens = ops.reshape(self.tokenizer.tokens_of(values), (-1, self.prefix_length))
        return self.positions(self.embedding(tokens)), None

    @property
    def metrics(self):
        """None: the tokenizer's own are not the prior's to report."""
        return []

    def get_config(self):
        tokenizer = keras.saving.serialize_keras_object(self.tokenizer)
        return {**super().get_config(), "tokenizer": tokenizer}

    @classmethod
    def from_config(cls, config):
        tokenizer = keras.saving.deserialize_keras_object(config["tokenizer"])
        return cls(**{**config, "tokenizer": tokenizer})

"""What a token prior can be told: a class, a label map, or the label map's own tokens.

All are layers of one interface, so that a prior does not know which it has: `check` what a user
hands in, and turn it into a prefix of vectors that image tokens attend to and, where the condition
is laid out in space, a vector for each image token.
"""

import keras
from keras import layers, ops

from keras_regvq.checks.arrays import (
    check_grid,
    check_positive_integer,
    check_tokens,
    describe,
    refuse,
)
from keras_regvq.models.layers.grid_positions import GridPositions
from keras_regvq.models.tokenizers.label_map_tokenizer import LabelMapTokenizer, check_label_maps


class Condition(layers.Layer):
    """Base class. A prior calls `build_for` once, with its own sizes.

    A subclass has `shape`, that of one example of what it takes, and once it is built
    `prefix_length`, the number of vectors that go before the image tokens. `is_aligned` says
    whether it has a vector for each image token, too.
    """

    values_dtype = "int32"
    is_aligned = False

    def build_for(self, grid, hidden_dim):
        """Create the weights for a prior's token grid (h, w) and width D."""
        raise NotImplementedError(f"{type(self).__name__} must implement build_for()")

    def check(self, values, argument="condition"):
        """Return `values` of a batch as the NumPy array that `call` takes, or raise ValueError.

        `argument` is what to call them in the error.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement check()")

    def call(self, values):
        """int32 (B, *shape) -> prefix (B, P, D), and what to add to each image token or None.

        The latter is (B, h * w, D).
        """
        raise NotImplementedError(f"{type(self).__name__} must implement call()")

    def prefix_mask(self, values):
        """bool (B, P), True where the prefix says something; None: everywhere."""
        return None


@keras.saving.register_keras_serializable(package="keras_regvq")
class ClassCondition(Condition):
    """A class label: a prefix of one vector. Takes integers (B,) in [0, num_classes)."""

    shape = ()
    prefix_length = 1

    def __init__(self, num_classes, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = check_positive_integer("num_classes", num_classes)

    def build_for(self, grid, hidden_dim):
        self.embedding = layers.Embedding(self.num_classes, hidden_dim, dtype=self.dtype_policy)
        self.embedding.build()
        self.built = True

    def check(self, values, argument="condition"):
        return check_tokens(argument, values, self.num_classes, "(B,)", "class labels")

    def call(self, values):
        return self.embedding(values)[:, None], None

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}


@keras.saving.register_keras_serializable(package="keras_regvq")
class LabelMapCondition(Condition):
    """A label map, embedded patch by patch. Takes integers (B, H, W) in [0, num_classes).

    Two patch embeddings (Dosovitskiy et al., 2021) of the one-hot map: one on `prefix_grid` makes
    the prefix, which says what the whole picture holds; one on the image tokens' own grid is added
    to each token's input, and says what is to be there.

    Args:
        num_classes: labels are 0 to num_classes - 1.
        image_size: int or (H, W) of the maps; multiples of both grids.
        prefix_grid: (h, w) of the prefix; default the image tokens' grid. A coarser one makes a
            shorter sequence.
    """

    is_aligned = True

    def __init__(self, num_classes, image_size, prefix_grid=None, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = check_positive_integer("num_classes", num_classes)
        self.image_size = self.shape = check_grid("image_size", image_size)
        self.prefix_grid = prefix_grid and check_grid("prefix_grid", prefix_grid)

    def build_for(self, grid, hidden_dim):
        self.prefix_grid = self.prefix_grid or tuple(grid)
        self.prefix_length = self.prefix_grid[0] * self.prefix_grid[1]
        self.prefix = self._patch_embedding("prefix", self.prefix_grid, hidden_dim)
        self.aligned = self._patch_embedding("aligned", grid, hidden_dim)
        self.positions = GridPositions(self.prefix_grid, hidden_dim, dtype=self.dtype_policy)
        self.positions.build()
        self.built = True

    def _patch_embedding(self, name, grid, hidden_dim):
        patch = tuple(side // cells for side, cells in zip(self.shape, grid, strict=True))
        if tuple(p * cells for p, cells in zip(patch, grid, strict=True)) != self.shape:
            refuse("image_size", self.shape, f"multiples of the {name} grid {tuple(grid)}")
        layer = layers.Conv2D(
            hidden_dim,
            patch,
            strides=patch,
            # Each label of a patch adds one vector: small ones, or their sum drowns the token.
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.02),
            data_format="channels_last",
            name=name,
            dtype=self.dtype_policy,
        )
        layer.build((None, *self.shape, self.num_classes))
        return layer

    def check(self, values, argument="condition"):
        return check_label_maps(argument, values, self.num_classes, self.shape)

    def call(self, values):
        one_hot = ops.one_hot(values, self.num_classes, dtype=self.compute_dtype)
        prefix, aligned = self.prefix(one_hot), self.aligned(one_hot)
        batch, _, _, width = ops.shape(prefix)
        prefix = self.positions(ops.reshape(prefix, (batch, self.prefix_length, width)))
        return prefix, ops.reshape(aligned, (batch, -1, width))

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "image_size": self.image_size,
            "prefix_grid": self.prefix_grid,
        }


@keras.saving.register_keras_serializable(package="keras_regvq")
class TokenizedMapCondition(Condition):
    """A label map, as the tokens of its own tokenizer. Takes integers (B, H, W).

    As VQ-GAN does it (Esser et al., 2021): a trained `LabelMapTokenizer`, frozen here, turns the
    map into tokens, whose embeddings are the prefix.

    Args:
        tokenizer: a trained LabelMapTokenizer.
    """

    def __init__(self, tokenizer, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(tokenizer, LabelMapTokenizer):
            refuse("tokenizer", describe(tokenizer), "a keras_regvq.models.LabelMapTokenizer")
        self.tokenizer = tokenizer
        tokenizer.trainable = False
        self.shape = tokenizer.image_size
        self.prefix_length = tokenizer.token_grid[0] * tokenizer.token_grid[1]

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

"""A label map as a prior's condition, embedded patch by patch."""

import keras
from keras import layers, ops

from keras_regvq.checks.arguments import check_grid, check_positive_integer, refuse
from keras_regvq.models.conditions.condition import Condition
from keras_regvq.models.layers.grid_positions import GridPositions
from keras_regvq.models.tokenizers.label_map_tokenizer import check_label_maps


@keras.saving.register_keras_serializable(package="keras_regvq")
class LabelMapCondition(Condition):
    """A label map, embedded patch by patch. Takes integers (B, H, W) in [0, num_classes).

    Two patch embeddings (Dosovitskiy et al., 2021) of the one-hot map: one on `prefix_grid` makes
    the prefix, which says what the whole picture holds; one on the image tokens' own grid is added
    to each token's input, and says what is to be generated there.

    Args:
        num_classes: labels are 0 to num_classes - 1.
        image_size: int or (H, W) of the maps; multiples of both grids.
        prefix_grid: (h, w) of the prefix; default the image tokens' grid. A coarser one makes a
            shorter sequence.

    Example:
        ```python
        maps = keras_regvq.data.scenes(2, size=64)["labels"]  # int32 (2, 64, 64)
        condition = keras_regvq.models.LabelMapCondition(16, image_size=64, prefix_grid=(2, 2))
        prior = keras_regvq.models.AutoregressivePrior(256, (4, 4), 1, 2, 32, condition)
        tokens = prior.generate(maps, seed=0)  # int32 (2, 4, 4)
        ```
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

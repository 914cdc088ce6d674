"""Learned positions on a grid."""

import keras
from keras import ops


class GridPositions(keras.layers.Layer):
    """Adds to each cell of a grid, in raster order, the vectors of its row and of its column.

    Args:
        grid: (h, w).
        hidden_dim: D.
        factorized: False gives each cell a vector of its own instead.
    """

    def __init__(self, grid, hidden_dim, factorized=True, **kwargs):
        super().__init__(**kwargs)
        self.grid, self.hidden_dim, self.factorized = tuple(grid), hidden_dim, factorized

    def build(self, input_shape=None):
        initializer = keras.initializers.RandomNormal(stddev=0.02)
        sizes = dict(zip(("rows", "columns"), self.grid, strict=True))
        if not self.factorized:
            sizes = {"cells": self.grid[0] * self.grid[1]}
        for name, count in sizes.items():
            weight = self.add_weight(
                name=name, shape=(count, self.hidden_dim), initializer=initializer
            )
            setattr(self, name, weight)

    def vectors(self):
        """(h * w, D)."""
        if not self.factorized:
            return ops.cast(ops.convert_to_tensor(self.cells), self.compute_dtype)
        rows, columns = map(ops.convert_to_tensor, (self.rows, self.columns))
        vectors = ops.reshape(rows[:, None] + columns[None], (-1, self.hidden_dim))
        return ops.cast(vectors, self.compute_dtype)

    def call(self, inputs):
        """Add them to (B, h * w, D)."""
        return inputs + self.vectors()

    def get_config(self):
        return {
            **super().get_config(),
            "grid": self.grid,
            "hidden_dim": self.hidden_dim,
            "factorized": self.factorized,
        }

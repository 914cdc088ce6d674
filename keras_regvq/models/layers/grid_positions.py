"""Learned positions on a grid."""

import math

import keras
from keras import ops


class GridPositions(keras.layers.Layer):
    """Adds to each cell of a grid, in raster order, the vectors of its row and of its column.

    Args:
        grid: (h, w); or (h, w, q), of which each of the q has a vector, too.
        hidden_dim: D.
        factorized: False gives each cell a vector of its own instead.
    """

    def __init__(self, grid, hidden_dim, factorized=True, **kwargs):
        super().__init__(**kwargs)
        self.grid, self.hidden_dim, self.factorized = tuple(grid), hidden_dim, factorized

    def build(self, input_shape=None):
        initializer = keras.initializers.RandomNormal(stddev=0.02)
        sizes = dict(zip(("rows", "columns", "stages"), self.grid, strict=False))
        if not self.factorized:
            sizes = {"cells": math.prod(self.grid)}
        for name, count in sizes.items():
            weight = self.add_weight(
                name=name, shape=(count, self.hidden_dim), initializer=initializer
            )
            setattr(self, name, weight)

    def vectors(self):
        """(h * w * q, D)."""
        if not self.factorized:
            return ops.cast(ops.convert_to_tensor(self.cells), self.compute_dtype)
        rows, columns = map(ops.convert_to_tensor, (self.rows, self.columns))
        vectors = rows[:, None] + columns[None]
        if len(self.grid) == 3:
            vectors = vectors[:, :, None] + ops.convert_to_tensor(self.stages)
        return ops.cast(ops.reshape(vectors, (-1, self.hidden_dim)), self.compute_dtype)

    def call(self, inputs):
        """Add them to (B, h * w * q, D)."""
        return inputs + self.vectors()

    def get_config(self):
        return {
            **super().get_config(),
            "grid": self.grid,
            "hidden_dim": self.hidden_dim,
            "factorized": self.factorized,
        }

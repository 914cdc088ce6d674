"""What a prior's conditions have in common.

All are layers of one interface, so that a prior does not know which it has: `check` what a user
hands in, and turn it into a prefix of vectors that image tokens attend to and, where the condition
is laid out in space, a vector for each image token.
"""

from keras import layers


class Condition(layers.Layer):
    """Base class. A prior calls `build_for` once, with its own sizes.

    A subclass has `shape`, that of one example of what it takes, and once it is built
    `prefix_length`, the number of vectors that go before the image tokens. `is_aligned` says
    whether it has a vector for each image token, too.

    Example:
        ```python
        # A vector of 8 numbers: a prefix of one vector.
        class VectorCondition(keras_regvq.models.Condition):
            values_dtype, shape, prefix_length = "float32", (8,), 1

            def build_for(self, grid, hidden_dim):
                self.projection = keras.layers.Dense(hidden_dim, dtype=self.dtype_policy)
                self.projection.build((None, 8))
                self.built = True

            def check(self, values, argument="condition"):
                return np.asarray(values, "float32")

            def call(self, values):
                return self.projection(values)[:, None], None

        prior = keras_regvq.models.AutoregressivePrior(256, (4, 4), 1, 2, 32, VectorCondition())
        tokens = prior.generate(np.ones((2, 8)), seed=0)  # int32 (2, 4, 4)
        ```
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

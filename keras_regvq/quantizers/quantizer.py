"""What every quantizer is and returns."""

import keras
import numpy as np
from keras import ops

from keras_regvq.checks.arrays import check_positive_integer, check_tokens, describe, refuse
from keras_regvq.quantizers.straight_through import best_codes


class Quantizer(keras.layers.Layer):
    """Base class: turns features (B, h, w, C) into entries of a codebook (N, d).

    A subclass creates its own weights in `build`, says in `scores()` which affine map of the
    features is largest at the code that it chooses, and in `choose_codes()` what it does while it
    trains. It always computes in float32: distances and logits in half precision pick other
    codes.

    Args:
        codebook_size: N, the number of codes.
        embedding_dim: d, the width of a code.
        codebook_initializer: a Keras initializer.
        block_size: bounds the memory: logits exist for about block_size codes a position at a time,
            by working on some of the positions at once.
    """

    def __init__(
        self, codebook_size, embedding_dim, codebook_initializer, block_size=4096, **kwargs
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.codebook_size = check_positive_integer("codebook_size", codebook_size)
        self.embedding_dim = check_positive_integer("embedding_dim", embedding_dim)
        self.block_size = check_positive_integer("block_size", block_size)
        self.codebook_initializer = keras.initializers.get(codebook_initializer)

    def build(self, input_shape):
        if len(input_shape) != 4:
            refuse("features", f"shape {tuple(input_shape)}", "shape (B, h, w, C)")
        self.feature_channels = input_shape[-1]
        # No weight here is autocast: inside the call of a half-precision model `best_tokens`
        # and `embed` would see half-precision codes.
        self.codebook = self.add_weight(
            name="codebook",
            shape=(self.codebook_size, self.embedding_dim),
            initializer=self.codebook_initializer,
            autocast=False,
        )

    def codes(self):
        """The codes as they are used, (N, d): the codebook, unless a subclass makes them of it."""
        return ops.convert_to_tensor(self.codebook)

    def scores(self):
        """(kernel (C, N), bias (N,)) of the scores whose argmax is the best code."""
        raise NotImplementedError(f"{type(self).__name__} must implement scores()")

    def choose_codes(self, features, training):
        """Quantize (B, L, C) features.

        Returns:
            dict of "embeddings" (B, L, d) with the training gradient, "tokens" and "best_tokens"
            int32 (B, L), "mask" bool (B, L), and "losses", a dict of weighted scalars.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement choose_codes()")

    def call(self, features, training=False):
        """Quantize features.

        Args:
            features: float (B, h, w, C).
            training: draw samples where the method does so; without it every position takes
                its best code, and nothing is random.

        Returns:
            dict of "embeddings" (B, h, w, d); "tokens" int32 (B, h, w), the codes used;
            "best_tokens" int32 (B, h, w), the argmax or nearest codes; "mask" bool (B, h, w),
            True where the code was sampled; "perturbation" (B, h, w), squared distance between
            the used and the best code's embeddings (no gradient); "losses", a dict of weighted
            scalars.
        """
        rows, grid = self.flatten_grid(features)
        result = self.choose_codes(rows, training)
        codebook = ops.stop_gradient(self.codes())
        difference = ops.take(codebook, result["tokens"], axis=0) - ops.take(
            codebook, result["best_tokens"], axis=0
        )
        result["perturbation"] = ops.sum(ops.square(difference), axis=-1)
        losses = result.pop("losses")
        result = {
            name: ops.reshape(value, (*grid, *value.shape[2:])) for name, value in result.items()
        }
        return {**result, "losses": losses}

    def best_tokens(self, features):
        """Tokens int32 (B, h, w) of features (B, h, w, C), as used at inference."""
        rows, grid = self.flatten_grid(features)
        kernel, bias = self.scores()
        return ops.reshape(best_codes(rows, kernel, bias, self.block_size), grid)

    def flatten_grid(self, features):
        """(B, h, w, C) -> the rows (B, h * w, C), and (B, h, w)."""
        shape = tuple(features.shape)
        if len(shape) != 4 or shape[-1] != self.feature_channels:
            refuse("features", f"shape {shape}", f"shape (B, h, w, {self.feature_channels})")
        batch, height, width, channels = ops.shape(features)
        return ops.reshape(features, (batch, height * width, channels)), (batch, height, width)

    def embed(self, tokens):
        """Codebook entries (B, h, w, d) of tokens, integers (B, h, w) in [0, N)."""
        if not hasattr(tokens, "shape") or isinstance(tokens, np.ndarray):
            tokens = check_tokens("tokens", tokens, self.codebook_size)
        if not keras.backend.is_int_dtype(keras.backend.standardize_dtype(tokens.dtype)):
            refuse("tokens", describe(tokens), "integers")
        return ops.take(self.codes(), tokens, axis=0)

    def compute_output_spec(self, features, training=False):
        grid = tuple(features.shape[:-1])
        if len(grid) != 3:
            refuse("features", f"shape {tuple(features.shape)}", "shape (B, h, w, C)")
        return {
            "embeddings": keras.KerasTensor((*grid, self.embedding_dim), "float32"),
            "tokens": keras.KerasTensor(grid, "int32"),
            "best_tokens": keras.KerasTensor(grid, "int32"),
            "mask": keras.KerasTensor(grid, "bool"),
            "perturbation": keras.KerasTensor(grid, "float32"),
            "losses": {name: keras.KerasTensor((), "float32") for name in self.loss_names},
        }

    def get_config(self):
        config = super().get_config()
        config.pop("dtype")
        return {
            **config,
            "codebook_size": self.codebook_size,
            "embedding_dim": self.embedding_dim,
            "codebook_initializer": keras.initializers.serialize(self.codebook_initializer),
            "block_size": self.block_size,
        }

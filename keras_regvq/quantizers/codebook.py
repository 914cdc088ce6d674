"""Quantizers that learn a codebook, and choose from it by the largest score."""

import keras
import numpy as np
from keras import ops

from keras_regvq.checks.arguments import check_positive_integer
from keras_regvq.quantizers.quantizer import Quantizer
from keras_regvq.quantizers.straight_through import best_codes


class CodebookQuantizer(Quantizer):
    """Base class of quantizers with a trainable codebook (N, d), `.codebook`.

    A subclass says in `scores()` which affine map of the features is largest at the best code, and
    in `choose_codes()` what it does while it trains.

    Args:
        codebook_size: N, the number of codes.
        embedding_dim: d, the width of a code.
        codebook_initializer: a Keras initializer.
        block_size: bounds the memory: scores exist for about block_size codes a position at a time,
            by working on some of the positions at once.

    Example:
        ```python
        # The nearest code, without losses: its codes are learned from the decoder alone.
        class NearestQuantizer(keras_regvq.quantizers.CodebookQuantizer):
            def scores(self):
                codes = self.codes()  # argmin |e - z|^2 = argmax 2 e.z - |z|^2
                return 2 * keras.ops.transpose(codes), -keras.ops.sum(codes**2, axis=-1)

            def choose_codes(self, features, training):
                tokens = self.best_tokens(features[:, None])[:, 0]
                through = features - keras.ops.stop_gradient(features)  # 0, with gradient 1
                return {"embeddings": self.embed(tokens) + through, "tokens": tokens}

        quantizer = NearestQuantizer(64, 8, "random_normal")
        result = quantizer(keras.random.normal((2, 4, 4, 8)))
        result["tokens"].shape  # (2, 4, 4)
        ```
    """

    def __init__(
        self, codebook_size, embedding_dim, codebook_initializer, block_size=1024, **kwargs
    ):
        super().__init__(codebook_size, embedding_dim, **kwargs)
        self.block_size = check_positive_integer("block_size", block_size)
        self.codebook_initializer = keras.initializers.get(codebook_initializer)

    def build(self, input_shape):
        super().build(input_shape)
        # No weight here is autocast: inside the call of a half-precision model `best_tokens`
        # and `embed` would see half-precision codes.
        self.codebook = self.add_weight(
            name="codebook",
            initializer=self.codebook_initializer,
            autocast=False,
            **self.codebook_weight(),
        )

    def codebook_weight(self):
        """Arguments of `add_weight` for the codebook: its shape, and what else a subclass says."""
        return {"shape": (self.codebook_size, self.embedding_dim)}

    def codes(self):
        """The codes as they are used, (N, d): the codebook, unless a subclass makes them of it."""
        return ops.convert_to_tensor(self.codebook)

    def scores(self):
        """(kernel (C, N), bias (N,)) of the scores whose argmax is the best code."""
        raise NotImplementedError(f"{type(self).__name__} must implement scores()")

    def best_tokens(self, features):
        rows, grid = self.flatten_grid(features)
        return ops.reshape(best_codes(rows, *self.scores(), self.block_size), grid)

    def exported_tokens(self, features):
        # At once, and as the first score that is the largest: other programs cannot read the loop
        # over a large codebook, nor Keras's `argmax` or `top_k`.
        kernel, bias = self.scores()
        scores = ops.matmul(features, kernel) + bias
        largest = scores == ops.max(scores, axis=-1, keepdims=True)
        numbers = ops.convert_to_tensor(np.arange(self.codebook_size, dtype="int32"))
        return ops.min(ops.where(largest, numbers, self.codebook_size), axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "codebook_size": self.codebook_size,
            "embedding_dim": self.embedding_dim,
            "codebook_initializer": keras.initializers.serialize(self.codebook_initializer),
            "block_size": self.block_size,
        }


def unit_length(vectors):
    """Vectors (..., d) divided by their lengths."""
    return vectors / ops.maximum(ops.norm(vectors, axis=-1, keepdims=True), 1e-12)


def distance_scores(codes):
    """(kernel (C, N), bias (N,)) of the scores whose argmax is the code (N, C) that is nearest."""
    # argmin |e - z|^2 = argmax 2 e.z - |z|^2, whatever the length of e if that of z is 1.
    return 2.0 * ops.transpose(codes), -ops.sum(ops.square(codes), axis=-1)

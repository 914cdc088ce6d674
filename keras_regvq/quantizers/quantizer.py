"""What every quantizer is and returns."""

import keras
import numpy as np
from keras import ops

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.checks.arrays import check_tokens, describe


class Quantizer(keras.layers.Layer):
    """Base class: turns features (B, h, w, C) into N codes of width d, and tokens 0 to N - 1.

    A subclass has `codes()`, all N codes, and `choose_codes()`, which chooses one at each position;
    and names its losses in `loss_names`. All else follows from these, on every backend; `embed`,
    `best_tokens` and `exported_tokens` may be replaced where a quantizer has a shorter way. It
    always computes in float32: in half precision other codes would be chosen. Quantizers that
    learn a table of codes derive from `CodebookQuantizer`.

    Args:
        codebook_size: N, the number of codes.
        embedding_dim: d, the width of a code.

    Attributes:
        codebook_size, embedding_dim: N and d.
        loss_names: of the entries in "losses" that a call returns.
        same_width: whether features must be as wide as the codes.
        copies_gradient: whether features get the gradient of the embeddings as it comes, or turned.
        tokens_per_position: 1; more only with `ResidualQuantizer`.
        num_codebooks: how many codebooks the tokens of a position are of.

    Example:
        ```python
        # Each of d channels becomes -1 or 1: 2^d codes.
        class SignQuantizer(keras_regvq.quantizers.Quantizer):
            same_width = True

            def __init__(self, channels, **kwargs):
                super().__init__(2**channels, channels, **kwargs)

            def codes(self):
                bits = np.arange(self.codebook_size)[:, None] >> np.arange(self.embedding_dim) & 1
                return keras.ops.convert_to_tensor(2 * bits - 1, "float32")

            def choose_codes(self, features, training):
                bits = keras.ops.cast(features > 0, "int32")
                shifts = np.arange(self.embedding_dim, dtype="int32")
                tokens = keras.ops.sum(keras.ops.left_shift(bits, shifts), axis=-1)
                error = keras.ops.stop_gradient(self.embed(tokens) - features)
                return {"embeddings": features + error, "tokens": tokens}

        result = SignQuantizer(8)(keras.random.normal((2, 4, 4, 8)))
        result["tokens"].shape  # (2, 4, 4)
        ```
    """

    loss_names = ()
    same_width = False
    copies_gradient = False
    tokens_per_position = 1
    num_codebooks = 1

    def __init__(self, codebook_size, embedding_dim, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.codebook_size = check_positive_integer("codebook_size", codebook_size)
        self.embedding_dim = check_positive_integer("embedding_dim", embedding_dim)

    def build(self, input_shape):
        if len(input_shape) != 4:
            refuse("features", f"shape {tuple(input_shape)}", "shape (B, h, w, C)")
        if self.same_width and input_shape[-1] != self.embedding_dim:
            refuse("features", f"{input_shape[-1]} channels", f"embedding_dim={self.embedding_dim}")
        self.feature_channels = input_shape[-1]

    def codes(self):
        """All codes as they are used, float32 (N, d); token n is the n-th."""
        raise NotImplementedError(f"{type(self).__name__} must implement codes()")

    def choose_codes(self, features, training):
        """Quantize float32 (B, L, C) features.

        Returns:
            dict of "embeddings" (B, L, d), the codes with the gradient that training needs, and
            "tokens" int32 (B, L), the codes used; and, unless they are as given here,
            "best_tokens" int32 (B, L), those used at inference ("tokens"), "mask" bool (B, L),
            where codes were sampled (nowhere), and "losses", weighted scalars of all
            `loss_names`, in training or not (none).
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
        chosen = self.choose_codes(rows, training)
        tokens = chosen["tokens"]
        best, perturbation = tokens, ops.zeros_like(tokens, dtype="float32")
        if "best_tokens" in chosen:
            best = chosen["best_tokens"]
            difference = ops.stop_gradient(self.embed(tokens) - self.embed(best))
            perturbation = ops.sum(ops.square(difference), axis=-1)
        result = {
            "embeddings": chosen["embeddings"],
            "tokens": tokens,
            "best_tokens": best,
            "mask": chosen.get("mask", ops.zeros_like(tokens, dtype="bool")),
            "perturbation": perturbation,
        }
        result = {
            name: ops.reshape(value, (*grid, *value.shape[2:])) for name, value in result.items()
        }
        return {**result, "losses": chosen.get("losses", {})}

    def best_tokens(self, features):
        """Tokens int32 (B, h, w) of features (B, h, w, C), as used at inference."""
        rows, grid = self.flatten_grid(features)
        return ops.reshape(self.choose_codes(rows, training=False)["tokens"], grid)

    def exported_tokens(self, features):
        """`best_tokens` in operations that programs other than Keras can read."""
        return self.best_tokens(features)

    def embed(self, tokens):
        """Codes (..., d) of tokens, integers (...) in [0, N); of arrays and lists (B, h, w)."""
        return ops.take(self.codes(), self.checked_tokens(tokens), axis=0)

    def checked_tokens(self, tokens):
        """What `embed` was given, an array or a tensor, if they are tokens: else a ValueError."""
        if not hasattr(tokens, "shape") or isinstance(tokens, np.ndarray):
            tokens = self.check_tokens("tokens", tokens)
        if not keras.backend.is_int_dtype(keras.backend.standardize_dtype(tokens.dtype)):
            refuse("tokens", describe(tokens), "integers")
        return tokens

    def check_tokens(self, argument, tokens):
        """Tokens (B, h, w), an array or a list, as int32 NumPy; else a ValueError."""
        return check_tokens(argument, tokens, self.codebook_size)

    def flatten_grid(self, features):
        """(B, h, w, C) -> the rows, float32 (B, h * w, C), and (B, h, w)."""
        shape = tuple(features.shape)
        if len(shape) != 4 or shape[-1] != self.feature_channels:
            refuse("features", f"shape {shape}", f"shape (B, h, w, {self.feature_channels})")
        batch, height, width, channels = ops.shape(features)
        rows = ops.reshape(ops.cast(features, "float32"), (batch, height * width, channels))
        return rows, (batch, height, width)

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
        return config

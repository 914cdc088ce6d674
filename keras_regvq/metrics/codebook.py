"""How much of its codebook a tokenizer uses, over everything it has seen since the last reset."""

import keras
import numpy as np
from keras import ops

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.checks.arrays import describe


class CodeCounts(keras.metrics.Metric):
    """Base of the codebook metrics: counts how often each code occurs.

    A batch can use no more codes than it has tokens, and its histogram is noisy: an average of
    numbers of batches says more about the batch size than about the codebook. So the histogram
    is kept, and the metric computed from it when asked for.
    """

    def __init__(self, codebook_size, name, dtype="float32", num_codebooks=1):
        super().__init__(name=name, dtype=dtype)
        self.codebook_size = check_positive_integer("codebook_size", codebook_size)
        self.num_codebooks = check_positive_integer("num_codebooks", num_codebooks)
        # Integers, since a float32 stops counting at 2^24, which is 65,536 images of 256 tokens
        # with one code. "int" is the width that each backend has on every device. The last bin
        # is for tokens outside the codebook.
        self.counts = self.add_variable(
            (self.num_codebooks * self.codebook_size + 1,),
            initializer="zeros",
            dtype="int",
            name="counts",
        )

    def update_state(self, tokens=None, y_pred=None, sample_weight=None):
        """Count tokens.

        Args:
            tokens: integers of any shape in [0, codebook_size); of several codebooks the last axis
                has as many tokens, one of each.
            y_pred: the tokens if given: a metric passed to `compile` gets (y_true, y_pred), and
                the model's output is what counts.
            sample_weight: None; Keras passes it along, but a count has no weight.

        Raises:
            ValueError: for sample weights, a dtype that is not integer, or a token outside the
                codebook. In a compiled function such a token cannot be refused: it makes the
                result NaN.
        """
        argument, tokens = ("tokens", tokens) if y_pred is None else ("y_pred", y_pred)
        expected = f"integer tokens in [0, {self.codebook_size - 1}]"
        if tokens is None:
            refuse(argument, "None", expected)
        if sample_weight is not None:
            refuse("sample_weight", describe(sample_weight), "None: tokens are counted unweighted")
        if isinstance(tokens, np.ndarray) and tokens.dtype.itemsize > 4:  # JAX would cut them off
            tokens = np.clip(tokens, -1, self.codebook_size)
        tokens = ops.convert_to_tensor(tokens)
        if keras.backend.standardize_dtype(tokens.dtype) in ("int64", "uint32", "uint64"):
            tokens = ops.clip(ops.cast(tokens, "int64"), -1, self.codebook_size)
        if not keras.backend.is_int_dtype(keras.backend.standardize_dtype(tokens.dtype)):
            refuse(argument, describe(tokens), expected)
        if self.num_codebooks > 1 and tuple(tokens.shape[-1:]) != (self.num_codebooks,):
            refuse(argument, describe(tokens), f"{expected}, {self.num_codebooks} in the last axis")
        tokens, bins = ops.cast(tokens, "int32"), self.num_codebooks * self.codebook_size
        known = ops.logical_and(tokens >= 0, tokens < self.codebook_size)
        if self.num_codebooks > 1:
            tokens = tokens + self.codebook_size * ops.arange(self.num_codebooks, dtype="int32")
        tokens = ops.reshape(ops.where(known, tokens, bins), (-1,))
        # float32 sums run on every device, and are exact for one batch of up to 2^24 tokens.
        counts = ops.segment_sum(
            ops.ones_like(tokens, dtype="float32"), tokens, num_segments=bins + 1
        )
        _refuse_unknown(argument, counts[-1], expected)
        self.counts.assign_add(ops.cast(counts, self.counts.dtype))

    def frequencies(self):
        """Share of the tokens that each code has, float32; zeros before the first token.

        (N,), of several codebooks (num_codebooks, N), each of which has its share of 1. NaN if a
        token was outside the codebook.
        """
        counts = ops.cast(self.counts, "float32")
        total = ops.where(counts[-1] > 0, float("nan"), ops.maximum(ops.sum(counts[:-1]), 1.0))
        shape = (self.codebook_size,)
        if self.num_codebooks > 1:
            shape, total = (self.num_codebooks, *shape), total / self.num_codebooks
        return ops.reshape(counts[:-1] / total, shape)

    def get_config(self):
        config = {**super().get_config(), "codebook_size": self.codebook_size}
        return {**config, "num_codebooks": self.num_codebooks}


@keras.saving.register_keras_serializable(package="keras_regvq")
class CodebookUsage(CodeCounts):
    """Share of the codebook, 0 to 1, that occurred at least once since the last reset.

    Args:
        codebook_size: N, the number of codes.
        name: name of the metric.
        num_codebooks: how many codebooks of N codes the tokens (..., num_codebooks) are of; the
            share is that of all their codes. 1 counts all tokens together, whatever their stage.

    Example:
        ```python
        tokenizer = keras_regvq.from_preset("regvq_scenes_64")
        usage = keras_regvq.metrics.CodebookUsage(codebook_size=tokenizer.codebook_size)
        usage.update_state(tokenizer.encode(images))
        float(usage.result())  # 0.66
        ```
    """

    def __init__(self, codebook_size, name="codebook_usage", dtype="float32", num_codebooks=1):
        super().__init__(codebook_size, name, dtype, num_codebooks)

    def result(self):
        frequencies = self.frequencies()
        used = ops.where(ops.isnan(frequencies), frequencies, ops.cast(frequencies > 0, "float32"))
        return ops.cast(ops.mean(used), self.dtype)


@keras.saving.register_keras_serializable(package="keras_regvq")
class CodebookPerplexity(CodeCounts):
    """exp(-sum_n P_n log P_n) of all tokens since the last reset; 0 before the first token.

    From 1 (one code) to N (all equally often): the number of equally frequent codes with the same
    entropy. It is the perplexity of the whole histogram, and not an average over batches.

    Args:
        codebook_size: N, the number of codes.
        name: name of the metric.
        num_codebooks: how many codebooks of N codes the tokens (..., num_codebooks) are of; the
            result is the geometric mean of their perplexities. 1 counts all tokens together.

    Example:
        ```python
        tokenizer = keras_regvq.from_preset("regvq_scenes_64")
        perplexity = keras_regvq.metrics.CodebookPerplexity(codebook_size=tokenizer.codebook_size)
        perplexity.update_state(tokenizer.encode(images))
        float(perplexity.result())  # 262.0
        ```
    """

    def __init__(self, codebook_size, name="codebook_perplexity", dtype="float32", num_codebooks=1):
        super().__init__(codebook_size, name, dtype, num_codebooks)

    def result(self):
        frequencies = self.frequencies()
        # 0 log 0 = 0, and NaN must not be hidden by the guard.
        logarithms = ops.log(ops.where(frequencies == 0, 1.0, frequencies))
        perplexity = ops.exp(-ops.sum(frequencies * logarithms) / self.num_codebooks)
        any_token = ops.cast(ops.sum(frequencies) != 0, perplexity.dtype)
        return ops.cast(perplexity * any_token, self.dtype)


def _refuse_unknown(argument, number_unknown, expected):
    """Refuse tokens outside the codebook if their number is known already."""
    try:
        unknown = int(number_unknown)
    except TypeError:  # JAX and TensorFlow raise one for a value that a trace does not know yet
        return
    if unknown:
        refuse(argument, f"{unknown} tokens outside the codebook", expected)

"""Finite scalar quantization: every channel rounded to a few levels."""

import functools
import math

import keras
import numpy as np
from keras import ops

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.quantizers.quantizer import Quantizer

# The outermost levels lie this share inside the range of tanh, so that it reaches them.
MARGIN = 1e-3
MOST_LEVELS = 1000  # with more, the margin would make room for another level


@keras.saving.register_keras_serializable(package="keras_regvq")
class FiniteScalarQuantizer(Quantizer):
    """FSQ: channel i of the features is bounded, and rounded to one of L_i levels.

    A code is one level of each channel, so that there are L_1 * ... * L_d of them: no codebook is
    learned, there are no losses, and no code can die. With h = (L - 1) / 2, o = 1/2 for an even
    and 0 for an odd L, and s = atanh(o / h):

        code = round(tanh(feature + s) * h - o) / floor(L / 2)

    in [-1, 1], with the gradient of the same without the rounding (straight-through). h is a
    thousandth larger, so that the outermost levels are reached. The levels of a code, counted from
    0, are the digits of its token, those of the first channel the lowest. Mentzer et al., "Finite
    Scalar Quantization: VQ-VAE Made Simple" (2023).

    Nothing is sampled: of the contrastive losses only the plain one has an effect with it.

    Args:
        levels: the number of levels of each channel, 2 to 1000; the features must have as many
            channels. The paper advises 5 or more, as (8, 5, 5, 5) for 1,000 codes and
            (7, 5, 5, 5, 5) for 4,375.

    Example:
        ```python
        quantizer = keras_regvq.quantizers.FiniteScalarQuantizer(levels=(8, 5, 5, 5))
        result = quantizer(keras.random.normal((2, 4, 4, 4)))
        result["tokens"].shape  # (2, 4, 4)
        quantizer.codebook_size  # 1000
        ```
    """

    same_width = True

    def __init__(self, levels=(8, 5, 5, 5), **kwargs):
        levels = check_levels(levels)
        super().__init__(math.prod(levels), len(levels), **kwargs)
        self.levels = levels

    def choose_codes(self, features, training):
        shift, half, offset, half_width, basis = map(ops.convert_to_tensor, self._constants)
        bounded = ops.tanh(features + shift) * half - offset
        level = ops.stop_gradient(bounded)
        rounded = ops.round(level)
        # bounded - level is zero: the value is the level, the gradient that of `bounded`.
        code = rounded + (bounded - level)
        # Where a step overflowed there is NaN, which is no level, but must not raise.
        known = ops.where(ops.isnan(rounded), ops.zeros_like(rounded), rounded)
        digits = ops.cast(known + half_width, "int32")
        return {"embeddings": code / half_width, "tokens": ops.sum(digits * basis, axis=-1)}

    @functools.cached_property
    def _constants(self):
        levels = np.array(self.levels)
        half = (levels - 1) * (1 + MARGIN) / 2
        offset = np.where(levels % 2 == 0, 0.5, 0.0)
        constants = np.arctanh(offset / half), half, offset, levels // 2
        return (*(x.astype("float32") for x in constants), self._basis.astype("int32"))

    def codes(self):
        return ops.convert_to_tensor(self._codes)

    @functools.cached_property
    def _basis(self):
        """What a step of one level in each channel adds to the token."""
        return np.cumprod([1, *self.levels[:-1]])

    @functools.cached_property
    def _codes(self):
        levels = np.array(self.levels)
        digits = np.arange(self.codebook_size)[:, None] // self._basis % levels
        return ((digits - levels // 2) / (levels // 2)).astype("float32")

    def get_config(self):
        return {**super().get_config(), "levels": self.levels}


def check_levels(levels):
    """Return the levels as a tuple of int.

    Raises:
        ValueError: unless there is at least one, each is 2 to 1000, and the codes fit int32.
    """
    expected = f"a tuple of integers from 2 to {MOST_LEVELS}"
    if not isinstance(levels, (tuple, list)) or not levels:
        refuse("levels", repr(levels), expected)
    levels = tuple(check_positive_integer("levels", number) for number in levels)
    if not all(2 <= number <= MOST_LEVELS for number in levels):
        refuse("levels", repr(levels), expected)
    if math.prod(levels) >= 2**31:
        refuse("levels", f"{levels}, {math.prod(levels)} codes", "fewer than 2**31 codes")
    return levels

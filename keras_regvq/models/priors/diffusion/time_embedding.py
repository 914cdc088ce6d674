"""How a diffusion prior's network is given the time."""

import math

from keras import layers, ops


class TimeEmbedding(layers.Layer):
    """Times in [0, 1], (B,) -> (B, D): sines and cosines (Ho et al., 2020) through two layers.

    Args:
        frequencies: how many sines and cosines; an odd one is filled up with a zero.
        outputs: D.
    """

    def __init__(self, frequencies, outputs, **kwargs):
        # Half precision cannot tell near times apart.
        super().__init__(autocast=False, **kwargs)
        self.frequencies, self.outputs = frequencies, outputs
        self.hidden = layers.Dense(outputs, "silu", name="hidden", dtype=self.dtype_policy)
        self.out = layers.Dense(outputs, name="out", dtype=self.dtype_policy)

    def build(self, input_shape=None):
        self.hidden.build((None, self.frequencies))
        self.out.build((None, self.hidden.units))

    def call(self, times):
        half = self.frequencies // 2
        rates = ops.exp(-math.log(1e4) * ops.arange(half, dtype="float32") / half)
        angles = 1000.0 * ops.cast(times, "float32")[:, None] * rates
        waves = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
        waves = ops.pad(waves, [[0, 0], [0, self.frequencies - 2 * half]])
        return self.out(self.hidden(ops.cast(waves, self.compute_dtype)))

    def get_config(self):
        return {
            **super().get_config(),
            "frequencies": self.frequencies,
            "outputs": self.outputs,
        }

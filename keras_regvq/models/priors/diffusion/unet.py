"""A U-Net on a token grid, given the time and a context: what a diffusion prior denoises with."""

from keras import layers, ops

from keras_regvq.checks.arguments import check_integer, check_number, check_positive_integer, refuse
from keras_regvq.models.layers.blocks import Upsample, downsample
from keras_regvq.models.priors.diffusion.time_embedding import TimeEmbedding
from keras_regvq.models.priors.diffusion.unet_block import UNetBlock, built, convolution, norm


class UNet(layers.Layer):
    """(B, h, w, C) features, times and a context -> (B, h, w, channels) features.

    The U-Net of Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis" (2021), with
    the transformer blocks of Rombach et al., "High-Resolution Image Synthesis with Latent
    Diffusion Models" (2022): residual blocks scaled and shifted by the time, self-attention and
    cross-attention to the context, skip connections. The context's mean joins the time, too.
    Skip connections add, and what comes up from a coarser level is nothing at first: features go
    straight through from the first layer to the last, and a fresh network is the residual blocks of
    the grid alone. (Concatenated skips mix all features anew in each block on the way up: such a
    network learned from neighbouring tokens many times more slowly.)

    A side of the grid that is odd is halved upwards, and cut again on the way up: every grid works.

    Args:
        channels: C of the first level.
        channel_multipliers: one a level, of `channels`.
        num_res_blocks: residual blocks a level, on the way down and again on the way up.
        attention_levels: levels with attention, 0 is the grid itself; the middle always has it.
        num_heads: attention heads.
        dropout: rate in the residual blocks while training.

    Raises:
        ValueError: for an argument that does not fit.
    """

    def __init__(
        self,
        channels,
        channel_multipliers=(1, 2),
        num_res_blocks=2,
        attention_levels=(1,),
        num_heads=4,
        dropout=0.0,
        **kwargs,
    ):
        # The layers inside cast by themselves: half precision cannot tell near times apart.
        super().__init__(autocast=False, **kwargs)
        multipliers = tuple(
            check_positive_integer("channel_multipliers", m) for m in channel_multipliers
        )
        levels = tuple(check_integer("attention_levels", level, 0) for level in attention_levels)
        if not multipliers:
            refuse("channel_multipliers", channel_multipliers, "at least one integer")
        if any(level >= len(multipliers) for level in levels):
            refuse("attention_levels", attention_levels, f"levels below {len(multipliers)}")
        self.settings = {
            "channels": check_positive_integer("channels", channels),
            "channel_multipliers": multipliers,
            "num_res_blocks": check_positive_integer("num_res_blocks", num_res_blocks),
            "attention_levels": levels,
            "num_heads": check_positive_integer("num_heads", num_heads),
            "dropout": check_number("dropout", dropout, 0, 1),
        }
        self.widths = [channels * multiplier for multiplier in multipliers]
        for level in {*levels, len(multipliers) - 1}:
            if self.widths[level] % num_heads:
                expected = f"a divisor of level {level}'s {self.widths[level]} channels"
                refuse("num_heads", num_heads, expected)
        for name, value in self.settings.items():
            setattr(self, name, value)

    def build(self, input_shape, context_shape=None):
        """Create the weights for inputs (B, h, w, C) and a context (B, P, D) or None."""
        policy, width = {"dtype": self.dtype_policy}, self.channels
        self._context_shape = context_shape
        self.time_embedding = TimeEmbedding(width, 4 * width, name="time", **policy)
        self.time_embedding.build()
        self.pooled = None
        if context_shape is not None:
            self.pooled = built(
                layers.Dense(4 * width, use_bias=False, name="pooled", **policy),
                (None, context_shape[-1]),
            )
        levels = range(len(self.widths))
        self.conv_in = built(convolution(self.widths[0], name="conv_in", **policy), input_shape)
        # Flat lists: Keras does not save what is in a list of lists.
        self.down = [block for level in levels for block in self._blocks(f"down_{level}", level)]
        self.halvings = [
            built(
                downsample(self.widths[level + 1], name=f"halve_{level}", **policy),
                (None, None, None, self.widths[level]),
            )
            for level in levels[:-1]
        ]
        self.middle = self._blocks("middle", levels[-1], attention=True, count=2)
        self.doublings = [
            built(
                Upsample(self.widths[level], "zeros", name=f"double_{level}", **policy),
                (None, None, None, self.widths[level + 1]),
            )
            for level in levels[:-1]
        ]
        self.up = [block for level in levels for block in self._blocks(f"up_{level}", level)]
        shape = (None, None, None, self.widths[0])
        self.norm = built(norm(self.widths[0], name="norm", **policy), shape)

    def _blocks(self, name, level, attention=None, count=None):
        attention = level in self.attention_levels if attention is None else attention
        blocks = []
        for index in range(count or self.num_res_blocks):
            block = UNetBlock(
                self.widths[level],
                self.num_heads if attention else 0,
                self.dropout,
                name=f"{name}_{index}",
                dtype=self.dtype_policy,
            )
            block.build(4 * self.channels, self._context_shape)
            blocks.append(block)
        return blocks

    def get_config(self):
        return {**super().get_config(), **self.settings}

    def call(self, inputs, times, context=None, padding_mask=None, training=False):
        """Denoise.

        Args:
            inputs: (B, h, w, C).
            times: float (B,), how far the noising has gone, from 0 to 1.
            context: (B, P, D), what to attend to; None if it was built without.
            padding_mask: bool (B, P), True where there is something; None: everywhere.

        Returns:
            (B, h, w, C of the first level).
        """
        time = self.time_embedding(times)
        if context is not None:
            time = time + self.pooled(_masked_mean(context, padding_mask))
        time = ops.silu(time)

        def run(blocks, x):
            for block in blocks:
                x = block(x, time, context, padding_mask=padding_mask, training=training)
            return x

        def of(level):
            return slice(level * self.num_res_blocks, (level + 1) * self.num_res_blocks)

        last, skipped = len(self.widths) - 1, []
        x = self.conv_in(inputs)
        for level in range(last):
            x = run(self.down[of(level)], x)
            skipped.append(x)
            x = self.halvings[level](x)
        x = run([*self.down[of(last)], *self.middle, *self.up[of(last)]], x)
        for level in reversed(range(last)):
            skip = skipped.pop()
            height, width = skip.shape[1:3]
            x = skip + self.doublings[level](x)[:, :height, :width]
            x = run(self.up[of(level)], x)
        return ops.silu(self.norm(x))


def _masked_mean(context, mask):
    if mask is None:
        return ops.mean(context, axis=1)
    weights = ops.cast(mask, context.dtype)[..., None]
    return ops.sum(context * weights, axis=1) / ops.maximum(ops.sum(weights, axis=1), 1.0)

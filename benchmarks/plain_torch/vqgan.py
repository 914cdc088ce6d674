"""The VQ-GAN encoder and decoder (Esser et al. 2021, arXiv 2012.09841).

The tensors carry the names of the published checkpoints (`encoder.down.0.block.0.norm1.weight`,
...), so such a checkpoint loads with `load_state_dict`. Images are (B, 3, H, W) in [-1, 1].
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


def group_norm(channels):
    # Narrow test models have fewer than 32 channels, or a number that 32 does not divide.
    return nn.GroupNorm(math.gcd(32, channels), channels, eps=1e-6)


class ResnetBlock(nn.Module):
    """x + conv(swish(norm(conv(swish(norm(x)))))), (B, C, H, W) -> (B, out_channels, H, W)."""

    def __init__(self, in_channels, out_channels, dropout=0.0):
        super().__init__()
        self.norm1 = group_norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = group_norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        if in_channels != out_channels:
            self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1)
        else:
            self.nin_shortcut = nn.Identity()

    def forward(self, x):
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = self.conv2(self.dropout(F.silu(self.norm2(hidden))))
        return self.nin_shortcut(x) + hidden


class AttnBlock(nn.Module):
    """One-head self-attention over all positions: x + proj(softmax(q k^T / sqrt(C)) v)."""

    def __init__(self, channels):
        super().__init__()
        self.norm = group_norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        normed = self.norm(x)
        query, key, value = (conv(normed).flatten(2) for conv in (self.q, self.k, self.v))
        scores = query.transpose(1, 2) @ key * x.shape[1] ** -0.5  # (B, query, key)
        attended = value @ scores.softmax(dim=-1).transpose(1, 2)
        return x + self.proj_out(attended.view_as(x))


class Downsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x):
        # Padding on the right and at the bottom only, as the published weights were trained.
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The blocks at one resolution, each with attention after it or not, then a resampling."""

    def __init__(self, in_channels, out_channels, num_blocks, attention, dropout):
        super().__init__()
        widths = [in_channels] + [out_channels] * num_blocks
        self.block = nn.ModuleList(
            ResnetBlock(widths[j], widths[j + 1], dropout) for j in range(num_blocks)
        )
        self.attn = nn.ModuleList(AttnBlock(out_channels) for _ in self.block if attention)
        self.downsample = nn.Identity()
        self.upsample = nn.Identity()

    def forward(self, x):
        for j, block in enumerate(self.block):
            x = block(x)
            if self.attn:
                x = self.attn[j](x)
        return self.upsample(self.downsample(x))


class Middle(nn.Module):
    def __init__(self, channels, dropout):
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, dropout)
        self.attn_1 = AttnBlock(channels)
        self.block_2 = ResnetBlock(channels, channels, dropout)

    def forward(self, x):
        return self.block_2(self.attn_1(self.block_1(x)))


class Encoder(nn.Module):
    """(B, in_channels, H, W) -> (B, z_channels, H / f, W / f) with f = 2 ** (len(ch_mult) - 1).

    Attention sits where an input of side `resolution` is reduced to a side in `attn_resolutions`.
    """

    def __init__(
        self,
        ch=128,
        ch_mult=(1, 1, 2, 2, 4),
        num_res_blocks=2,
        attn_resolutions=(16,),
        resolution=256,
        in_channels=3,
        z_channels=256,
        dropout=0.0,
    ):
        super().__init__()
        widths = [ch] + [ch * multiplier for multiplier in ch_mult]
        self.conv_in = nn.Conv2d(in_channels, ch, 3, padding=1)
        self.down = nn.ModuleList()
        for i in range(len(ch_mult)):
            attention = resolution // 2**i in attn_resolutions
            level = Level(widths[i], widths[i + 1], num_res_blocks, attention, dropout)
            if i < len(ch_mult) - 1:
                level.downsample = Downsample(widths[i + 1])
            self.down.append(level)
        self.mid = Middle(widths[-1], dropout)
        self.norm_out = group_norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], z_channels, 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """(B, z_channels, h, w) -> (B, out_ch, h * f, w * f), unbounded: it may leave [-1, 1]."""

    def __init__(
        self,
        ch=128,
        ch_mult=(1, 1, 2, 2, 4),
        num_res_blocks=2,
        attn_resolutions=(16,),
        resolution=256,
        out_ch=3,
        z_channels=256,
        dropout=0.0,
    ):
        super().__init__()
        # widths[i + 1] enters level i's upsampling; the lowest resolution starts at its own width.
        widths = [ch * multiplier for multiplier in ch_mult] + [ch * ch_mult[-1]]
        self.conv_in = nn.Conv2d(z_channels, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1], dropout)
        self.up = nn.ModuleList()
        for i in range(len(ch_mult)):
            attention = resolution // 2**i in attn_resolutions
            level = Level(widths[i + 1], widths[i], num_res_blocks + 1, attention, dropout)
            if i > 0:
                level.upsample = Upsample(widths[i])
            self.up.append(level)
        self.norm_out = group_norm(ch * ch_mult[0])
        self.conv_out = nn.Conv2d(ch * ch_mult[0], out_ch, 3, padding=1)

    def forward(self, z):
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):  # up.0 is the highest resolution and runs last
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class VQGAN(nn.Module):
    """Encoder, `quant_conv`, quantizer, `post_quant_conv`, decoder.

    The quantizer takes (B, embed_dim, h, w); `quantizers.py` describes what it returns.
    """

    def __init__(
        self,
        quantizer,
        ch=128,
        ch_mult=(1, 1, 2, 2, 4),
        num_res_blocks=2,
        attn_resolutions=(16,),
        resolution=256,
        in_channels=3,
        out_ch=3,
        z_channels=256,
        embed_dim=256,
        dropout=0.0,
    ):
        super().__init__()
        shared = dict(
            ch=ch,
            ch_mult=ch_mult,
            num_res_blocks=num_res_blocks,
            attn_resolutions=attn_resolutions,
            resolution=resolution,
            z_channels=z_channels,
            dropout=dropout,
        )
        self.encoder = Encoder(in_channels=in_channels, **shared)
        self.decoder = Decoder(out_ch=out_ch, **shared)
        self.quantize = quantizer
        self.quant_conv = nn.Conv2d(z_channels, embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(embed_dim, z_channels, 1)

    def encode(self, x, **quantizer_inputs):
        features = self.quant_conv(self.encoder(x))
        # Distances, log-probabilities and sums over a batch lose too much in half precision.
        with torch.autocast(x.device.type, enabled=False):
            return self.quantize(features.to(self.quant_conv.weight.dtype), **quantizer_inputs)

    def decode(self, embeddings):
        return self.decoder(self.post_quant_conv(embeddings))

    def forward(self, x, **quantizer_inputs):
        """(B, 3, H, W) in [-1, 1] -> reconstruction of the same shape, quantizer's dictionary."""
        quantized = self.encode(x, **quantizer_inputs)
        return self.decode(quantized["embeddings"]), quantized

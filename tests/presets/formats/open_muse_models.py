"""A small MaskGitVQGAN in plain PyTorch, in open-muse's layout, with random weights."""

import json

import torch
from torch import nn
from torch.nn import functional as F

from tests.presets.formats.peer_models import check_equal, images, random_norms

CODES, WIDTH = 20, 6


def convolution(inputs, outputs, side=3, bias=False):
    return nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=bias)


def group_norm(channels):
    return nn.GroupNorm(32, channels, eps=1e-6)


class Block(nn.Module):
    """h = K2 K1 x between norms; then h + x or, where the channels change, h + W h."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.norm1, self.conv1 = group_norm(inputs), convolution(inputs, outputs)
        self.norm2, self.conv2 = group_norm(outputs), convolution(outputs, outputs)
        if inputs != outputs:
            self.nin_shortcut = convolution(outputs, outputs, 1)

    def forward(self, x):
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        return hidden + (self.nin_shortcut(hidden) if hasattr(self, "nin_shortcut") else x)


class Level(nn.Module):
    def __init__(self, inputs, outputs, blocks, upsample=False):
        super().__init__()
        widths = [inputs] + [outputs] * blocks
        self.block = nn.ModuleList(map(Block, widths[:-1], widths[1:]))
        if upsample:
            self.upsample_conv = convolution(outputs, outputs, bias=True)

    def forward(self, x):
        for block in self.block:
            x = block(x)
        if hasattr(self, "upsample_conv"):
            x = self.upsample_conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x


class Encoder(nn.Module):
    def __init__(self, widths, blocks, latent):
        super().__init__()
        self.conv_in = convolution(3, widths[0])
        befores = [widths[0], *widths[:-1]]
        self.down = nn.ModuleList(Level(b, w, blocks) for b, w in zip(befores, widths, strict=True))
        self.mid = nn.Sequential(*(Block(widths[-1], widths[-1]) for _ in range(blocks)))
        self.norm_out = group_norm(widths[-1])
        self.conv_out = convolution(widths[-1], latent, 1, bias=True)

    def forward(self, x):
        x = self.conv_in(x)
        for number, level in enumerate(self.down):
            x = level(x)
            if number < len(self.down) - 1:
                x = F.avg_pool2d(x, 2)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    def __init__(self, widths, blocks, latent):
        super().__init__()
        self.conv_in = convolution(latent, widths[-1], bias=True)
        self.mid = nn.Sequential(*(Block(widths[-1], widths[-1]) for _ in range(blocks)))
        befores = [*widths[1:], widths[-1]]
        self.up = nn.ModuleList(
            Level(b, w, blocks, number > 0)
            for number, (b, w) in enumerate(zip(befores, widths, strict=True))
        )
        self.norm_out = group_norm(widths[0])
        self.conv_out = convolution(widths[0], 3, bias=True)

    def forward(self, z):
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Codebook(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.embedding = nn.Embedding(CODES, width)

    def forward(self, features):
        away = features.permute(0, 2, 3, 1)[..., None, :] - self.embedding.weight
        return away.square().sum(-1).argmin(-1)


class MaskGitVQGAN(nn.Module):
    """Images (B, 3, H, W) in [0, 1], and out of the decoder around it."""

    def __init__(self, multipliers=(1, 2, 2, 3), blocks=2, latent=WIDTH, width=WIDTH):
        super().__init__()
        widths = [32 * multiplier for multiplier in multipliers]
        self.encoder = Encoder(widths, blocks, latent)
        self.decoder = Decoder(widths, blocks, latent)
        self.quantize = Codebook(width)
        self.config = {
            "_class_name": "MaskGitVQGAN", "_version": "0.0.1", "resolution": 32, "num_channels": 3,
            "hidden_channels": 32, "channel_mult": list(multipliers), "num_res_blocks": blocks,
            "attn_resolutions": [16], "z_channels": latent, "num_embeddings": CODES,
            "quantized_embed_dim": width, "dropout": 0.0, "resample_with_conv": True,
            "commitment_cost": 0.25,
        }  # fmt: skip

    def save(self, folder):
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config))
        torch.save(self.state_dict(), folder / "pytorch_model.bin")
        return folder


def open_muse_model(seed=0, **options):
    torch.manual_seed(seed)
    return random_norms(MaskGitVQGAN(**options))


def check_open_muse(tokenizer, model):
    pictures = images(32)
    with torch.no_grad():
        pixels = torch.tensor(pictures.transpose(0, 3, 1, 2))
        tokens = model.quantize(model.encoder(pixels)).numpy()

    def decode(tokens):
        codes = model.quantize.embedding(tokens).permute(0, 3, 1, 2)
        return model.decoder(codes) * 2 - 1

    check_equal(tokenizer, pictures, tokens, decode)

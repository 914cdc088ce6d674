"""A small autoencoder of patches, the quantizers of vector-quantize-pytorch, and its training.

The network is the one that `keras_regvq.models.ImageTokenizer` builds with a `patch_size`, one
level and no attention. Images are (B, 3, H, W) in [-1, 1].
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.plain_torch.vqgan import ResnetBlock, group_norm

FSQ_LEVELS = (8, 6, 5)
"""What the paper of FSQ advises for 256 codes: 240."""

COSINE_WIDTH, EUCLIDEAN_WIDTH = 8, 16
ENCODER_BLOCKS, DECODER_BLOCKS = 2, 3


class PatchAutoencoder(nn.Module):
    """Patches to features of `embedding` channels, and back.

    Args:
        embedding: channels that are quantized.
        width: channels of all blocks.
        latent: channels of the last convolution before the 1x1 to `embedding`.
        patch: side of a patch in pixels.
        quantizer: module, (B, n, embedding) -> (the same shape, tokens (B, n), loss), or None.
    """

    def __init__(self, embedding, width=128, latent=64, patch=4, quantizer=None):
        super().__init__()
        self.quantizer = quantizer
        self.encoder = nn.ModuleDict(
            {
                "conv_in": nn.Conv2d(3, width, patch, patch),
                "blocks": residual_blocks(width, ENCODER_BLOCKS),
                "norm_out": group_norm(width),
                "conv_out": nn.Conv2d(width, latent, 3, padding=1),
                "quant_conv": nn.Conv2d(latent, embedding, 1),
            }
        )
        self.decoder = nn.ModuleDict(
            {
                "post_quant_conv": nn.Conv2d(embedding, latent, 1),
                "conv_in": nn.Conv2d(latent, width, 3, padding=1),
                "blocks": residual_blocks(width, DECODER_BLOCKS),
                "norm_out": group_norm(width),
                "conv_out": nn.Conv2d(width, 3 * patch**2, 3, padding=1),
            }
        )
        self.patch = patch

    def encode(self, images):
        part = self.encoder
        x = part["blocks"](part["conv_in"](images))
        x = part["conv_out"](F.silu(part["norm_out"](x)))
        return part["quant_conv"](x)

    def decode(self, features):
        part = self.decoder
        x = part["blocks"](part["conv_in"](part["post_quant_conv"](features)))
        x = part["conv_out"](F.silu(part["norm_out"](x)))
        return F.pixel_shuffle(x, self.patch)

    def forward(self, images):
        """Returns the reconstructions, the tokens (B, n) or None, and the quantizer's loss."""
        features = self.encode(images)
        if self.quantizer is None:
            return self.decode(features), None, 0.0
        rows = features.flatten(2).transpose(1, 2)
        quantized, tokens, loss = self.quantizer(rows)
        return self.decode(quantized.transpose(1, 2).reshape(features.shape)), tokens, loss


def residual_blocks(width, count):
    return nn.Sequential(*[ResnetBlock(width, width) for _ in range(count)])


class WithoutLoss(nn.Module):
    """FSQ has no loss of its own; here it gives one, of 0, as others do."""

    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer

    def forward(self, rows):
        quantized, tokens = self.quantizer(rows)
        return quantized, tokens, 0.0


def build(kind, codes, width):
    """An autoencoder with a quantizer of vector-quantize-pytorch, with its advised settings.

    Args:
        kind: "none", "cosine-vq", "euclidean-vq", "fsq" or "lfq".
        codes: size of the codebook, a power of two for "lfq"; "fsq" has 240 whatever is asked for.
        width: of the network.

    Returns:
        The autoencoder, and how many codes it has (0 for "none").

    Raises:
        ImportError: without vector-quantize-pytorch, if it is needed.
    """
    if kind == "none":
        return PatchAutoencoder(EUCLIDEAN_WIDTH, width), 0
    from vector_quantize_pytorch import FSQ, LFQ, VectorQuantize

    # The codebook starts as k-means of the first batch and follows as moving averages (EMA); a
    # code that has too few vectors is replaced by one of the batch.
    options = {"codebook_size": codes, "kmeans_init": True, "threshold_ema_dead_code": 2}
    if kind == "cosine-vq":
        embedding = COSINE_WIDTH
        quantizer = VectorQuantize(embedding, use_cosine_sim=True, **options)
    elif kind == "euclidean-vq":
        embedding = EUCLIDEAN_WIDTH
        quantizer = VectorQuantize(embedding, **options)
    elif kind == "fsq":
        embedding, codes = len(FSQ_LEVELS), math.prod(FSQ_LEVELS)
        quantizer = WithoutLoss(FSQ(list(FSQ_LEVELS)))
    elif kind == "lfq":
        embedding = codes.bit_length() - 1
        quantizer = LFQ(dim=embedding, codebook_size=codes)
    else:
        raise ValueError(f"kind: received {kind!r}, expected a quantizer's name")
    return PatchAutoencoder(embedding, width, quantizer=quantizer), codes


class Trainer:
    """2 L1 + the quantizer's loss, with Adam or Muon whose rates decay as a cosine to a twentieth.

    Args:
        model: `PatchAutoencoder`.
        steps: the length of the decay.
        muon: whether hidden convolutions take Muon's step (0.02), as `keras_regvq.training.Muon`
            has it; all else takes Adam's (2e-3).
    """

    def __init__(self, model, steps, muon=False):
        self.model = model.train()
        hidden = [(name, p) for name, p in model.named_parameters() if muon and is_hidden(name, p)]
        self.hidden = [parameter for _, parameter in hidden]
        names = {name for name, _ in hidden}
        rest = [p for name, p in model.named_parameters() if name not in names]
        self.optimizers = [torch.optim.Adam(rest, 2e-3)]
        if muon:
            # PyTorch's Muon takes matrices alone: these share the convolutions' memory.
            self.matrices = [nn.Parameter(p.data.flatten(1)) for p in self.hidden]
            self.optimizers.append(
                torch.optim.Muon(
                    self.matrices, 0.02, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
                )
            )
        self.schedules = [
            torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda t: 0.05 + 0.475 * (1 + math.cos(math.pi * min(1.0, t / steps)))
            )
            for optimizer in self.optimizers
        ]

    def step(self, images):
        """One step on uint8 images (B, H, W, 3)."""
        images = to_torch(images)
        outputs, _, loss = self.model(2 * images - 1)
        loss = 2 * ((outputs + 1) / 2 - images).abs().mean() + loss
        self.model.zero_grad()
        loss.backward()
        if self.hidden:
            for matrix, parameter in zip(self.matrices, self.hidden, strict=True):
                matrix.grad = parameter.grad.flatten(1)
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            schedule.step()

    @torch.no_grad()
    def reconstruct(self, images, batch_size=32):
        """Reconstructions, float32 (n, H, W, 3) in [0, 1], and tokens (n, m) or None."""
        self.model.eval()
        parts, tokens = [], []
        for start in range(0, len(images), batch_size):
            outputs, batch_tokens, _ = self.model(2 * to_torch(images[start:][:batch_size]) - 1)
            parts.append(((outputs + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1))
            tokens.append(batch_tokens)
        self.model.train()
        tokens = None if tokens[0] is None else torch.cat(tokens).numpy()
        return torch.cat(parts).numpy(), tokens


def is_hidden(name, parameter):
    """Whether a weight is a convolution's that is neither first nor last of its network."""
    return parameter.ndim == 4 and "conv_in" not in name and "decoder.conv_out" not in name


def to_torch(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255

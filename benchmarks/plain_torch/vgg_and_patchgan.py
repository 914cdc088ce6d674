"""The two networks that only the loss needs: frozen VGG-19 features, and the discriminator."""

import torch
from torch import nn

from benchmarks.plain_torch.vqgan import group_norm

# Positions in torchvision's `vgg19().features`: relu1_2, relu2_2, relu3_3, relu4_3, relu5_3.
TAPS = (3, 8, 15, 24, 33)
CONVOLUTIONS_PER_STAGE = (2, 2, 4, 4, 4)


class VGG19Features(nn.Module):
    """RGB images (B, 3, H, W) in [0, 1] -> five feature maps, at strides 1, 2, 4, 8 and 16.

    The tensors have torchvision's names up to `features.32`, the last one used; load a torchvision
    checkpoint with `load_state_dict(..., strict=False)`. The weights are frozen; gradients still
    reach the images. `channels` narrows the stages for tests.
    """

    def __init__(self, channels=(64, 128, 256, 512, 512)):
        super().__init__()
        layers, width = [], 3
        for stage, convolutions in zip(channels, CONVOLUTIONS_PER_STAGE, strict=True):
            for _ in range(convolutions):
                layers += [nn.Conv2d(width, stage, 3, padding=1), nn.ReLU(inplace=True)]
                width = stage
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[: TAPS[-1] + 1])
        mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, images):
        x = (images - self.mean) / self.std
        taps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in TAPS:
                taps.append(x)
        return taps


class PatchDiscriminator(nn.Module):
    """PatchGAN (arXiv 1611.07004): images (B, 3, H, W) in [-1, 1] -> logits (B, 1, H', W').

    4x4 convolutions of widths base, 2 base, 4 base, ... (at most 8 base), `num_layers` of them with
    stride 2 and one with stride 1, then one to a single channel; three layers make 30x30 logits of
    256 pixels. Group normalisation stands where the original has batch normalisation, so that a
    logit depends on its own image alone.
    """

    def __init__(self, in_channels=3, base_channels=64, num_layers=3):
        super().__init__()
        width = base_channels
        layers = [
            nn.Conv2d(in_channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for n in range(1, num_layers + 1):
            previous, width = width, base_channels * min(2**n, 8)
            layers += [
                nn.Conv2d(
                    previous, width, 4, stride=2 if n < num_layers else 1, padding=1, bias=False
                ),
                group_norm(width),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        layers.append(nn.Conv2d(width, 1, 4, padding=1))
        self.main = nn.Sequential(*layers)

    def forward(self, images):
        return self.main(images)

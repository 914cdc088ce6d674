"""The plain-PyTorch peer's networks, against NumPy and published sizes.

It is the reference of other tests, so nothing here may come from `keras_regvq`.
"""

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.plain_numbers import TINY, parameter_count, randn, softmax

torch = pytest.importorskip("torch")

from benchmarks.plain_torch.quantizers import (  # noqa: E402
    GumbelQuantizer,
    VectorQuantizer,
)
from benchmarks.plain_torch.vgg_and_patchgan import PatchDiscriminator, VGG19Features  # noqa: E402
from benchmarks.plain_torch.vqgan import (  # noqa: E402
    VQGAN,
    AttnBlock,
    Downsample,
    ResnetBlock,
    Upsample,
)

KEYS_FILE = Path(__file__).parents[1] / "data_files" / "taming_f16_keys.txt"


def test_the_f16_model_has_the_published_tensors():
    with torch.device("meta"):
        model = VQGAN(VectorQuantizer(1024, 256))
    expected = dict(line.split(" ", 1) for line in KEYS_FILE.read_text().splitlines())
    assert {k: str(list(v.shape)) for k, v in model.state_dict().items()} == expected
    assert len(expected) == 343
    assert parameter_count(model) == 72_141_699
    assert parameter_count(model.encoder) == 29_298_176
    assert parameter_count(model.decoder) == 42_449_795


def test_the_f8_gumbel_model_has_the_published_size():
    with torch.device("meta"):
        model = VQGAN(GumbelQuantizer(8192, 256), ch_mult=(1, 1, 2, 4), attn_resolutions=(32,))
    assert len(model.state_dict()) == 301
    assert parameter_count(model) == 68_995_971
    assert model.state_dict()["quantize.proj.weight"].shape == (8192, 256, 1, 1)
    assert model.state_dict()["quantize.embed.weight"].shape == (8192, 256)


def test_a_tiny_model_runs_at_sizes_other_than_its_resolution():
    model = VQGAN(VectorQuantizer(5, 4), embed_dim=4, **TINY).eval()
    reconstructed, quantized = model(torch.rand(2, 3, 24, 16))
    assert reconstructed.shape == (2, 3, 24, 16)
    assert quantized["embeddings"].shape == (2, 4, 12, 8)
    assert quantized["tokens"].shape == (2, 12, 8)


def group_normalized(x, groups):
    """(B, C, H, W) with the affine part at its initial identity."""
    grouped = x.reshape(x.shape[0], groups, -1)
    mean, variance = grouped.mean(-1, keepdims=True), grouped.var(-1, keepdims=True)
    return ((grouped - mean) / np.sqrt(variance + 1e-6)).reshape(x.shape)


def test_attention_matches_numpy():
    block, x = AttnBlock(8).double(), randn(2, 8, 2, 3)
    weights = {k: v.detach().numpy() for k, v in block.named_parameters()}

    def project(name, values):  # (B, L, C)
        return values @ weights[f"{name}.weight"][:, :, 0, 0].T + weights[f"{name}.bias"]

    # gcd(32, 8) = 8 groups; six positions, one row each.
    rows = group_normalized(x.numpy(), 8).reshape(2, 8, 6).transpose(0, 2, 1)
    query, key, value = (project(name, rows) for name in "qkv")
    attended = softmax(query @ key.transpose(0, 2, 1) / np.sqrt(8)) @ value
    change = project("proj_out", attended).transpose(0, 2, 1).reshape(x.shape)
    np.testing.assert_allclose(block(x).detach().numpy(), x.numpy() + change, rtol=1e-10)


def test_a_residual_block_normalises_before_each_convolution():
    block, x = ResnetBlock(6, 4).double(), randn(2, 6, 3, 3)

    def convolved(name, values):
        layer = getattr(block, name)
        padding = layer.weight.shape[-1] // 2
        values = torch.nn.functional.conv2d(
            torch.from_numpy(values), layer.weight, layer.bias, padding=padding
        )
        return values.detach().numpy()

    def swish(values):
        return values / (1 + np.exp(-values))

    # gcd(32, 6) = 2 groups and gcd(32, 4) = 4.
    hidden = convolved("conv1", swish(group_normalized(x.numpy(), 2)))
    hidden = convolved("conv2", swish(group_normalized(hidden, 4)))
    expected = convolved("nin_shortcut", x.numpy()) + hidden
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-9)


def test_downsampling_pads_right_and_bottom_and_upsampling_repeats():
    x = torch.rand(1, 1, 4, 6)
    down, up = Downsample(1), Upsample(1)
    for tap, expected in [(0, x[..., ::2, ::2]), (2, None)]:
        torch.nn.init.zeros_(down.conv.bias)
        torch.nn.init.zeros_(down.conv.weight)
        down.conv.weight.data[0, 0, tap, tap] = 1.0
        if expected is None:
            expected = torch.zeros(1, 1, 2, 3)
            expected[..., :1, :2] = x[..., 2::2, 2::2]
        assert torch.equal(down(x), expected)
    torch.nn.init.dirac_(up.conv.weight)
    torch.nn.init.zeros_(up.conv.bias)
    assert torch.equal(up(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_the_discriminator_gives_30_by_30_logits_for_256_pixels():
    with torch.device("meta"):
        discriminator = PatchDiscriminator()
        logits = discriminator(torch.zeros(1, 3, 256, 256))
    assert logits.shape == (1, 1, 30, 30)
    # 4x4 convolutions 3-64-128-256-512-1: biases on the first and last, two scales a norm.
    expected = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)
    expected += 64 + 1 + 2 * (128 + 256 + 512)
    assert parameter_count(discriminator) == expected


def test_vgg_taps_end_in_relu_at_strides_1_to_16():
    with torch.device("meta"):
        features = VGG19Features()
        taps = features(torch.zeros(1, 3, 32, 32))
    sizes = [(64, 32), (128, 16), (256, 8), (512, 4), (512, 2)]
    assert [tap.shape[1:] for tap in taps] == [(c, s, s) for c, s in sizes]
    # The last convolution is conv5_3: 2 + 2 + 4 + 4 + 3 of them, and no trainable weight.
    convolutions = [k for k in features.state_dict() if k.endswith("weight")]
    assert len(convolutions) == 15 and convolutions[-1] == "features.32.weight"
    assert not any(parameter.requires_grad for parameter in features.parameters())
    small = VGG19Features(channels=(2, 2, 2, 2, 2))
    assert all((tap >= 0).all() for tap in small(torch.rand(1, 3, 16, 16)))

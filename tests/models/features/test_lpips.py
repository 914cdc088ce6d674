"""The perceptual loss on LPIPS's features is LPIPS, written out in PyTorch."""

import keras
import numpy as np
import pytest
import torch

from keras_regvq.losses import perceptual_loss
from keras_regvq.metrics import PerceptualDistance
from keras_regvq.models import LPIPSFeatures

# torchvision's vgg16().features: widths of the convolutions by index, and the taps behind ReLUs.
CONVOLUTIONS = {
    **{0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256},
    **{17: 512, 19: 512, 21: 512, 24: 512, 26: 512, 28: 512},
}
POOLS, TAPS = (4, 9, 16, 23), (3, 8, 15, 22, 29)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Random weights of the VGG under torchvision's names, and of the heads under LPIPS's."""
    folder, channels, body = tmp_path_factory.mktemp("lpips"), 3, {}
    torch.manual_seed(0)
    for index, width in CONVOLUTIONS.items():
        body[f"features.{index}.weight"] = (
            torch.randn(width, channels, 3, 3) * (2 / 9 / channels) ** 0.5
        )
        body[f"features.{index}.bias"] = 0.1 * torch.randn(width)
        channels = width
    heads = {
        f"lin{k}.model.1.weight": torch.rand(1, width, 1, 1)
        for k, width in enumerate((64, 128, 256, 512, 512))
    }
    torch.save(body, folder / "vgg16.pth")
    torch.save(heads, folder / "vgg.pth", _use_new_zipfile_serialization=False)
    return folder / "vgg16.pth", folder / "vgg.pth", body, heads


def lpips(body, heads, first, second):
    """(B,) by the paper's formula and the published code's scaling, on images in [-1, 1]."""
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[:, None, None]

    def features(x):
        x, taps = (x - shift) / scale, []
        for index in range(30):
            if index in CONVOLUTIONS:
                weight, bias = (body[f"features.{index}.{part}"] for part in ("weight", "bias"))
                x = torch.nn.functional.conv2d(x, weight, bias, padding=1).relu()
            elif index in POOLS:
                x = torch.nn.functional.max_pool2d(x, 2)
            if index in TAPS:
                taps.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return taps

    total = 0
    for k, (y, z) in enumerate(zip(features(first), features(second), strict=True)):
        weighted = torch.nn.functional.conv2d((y - z) ** 2, heads[f"lin{k}.model.1.weight"])
        total = total + weighted.mean((1, 2, 3))
    return total.numpy()


def test_the_loss_and_the_distance_are_lpips(files, rng):
    path, heads_path, body, heads = files
    first, second = rng.random((2, 3, 32, 48, 3), dtype="float32")
    theirs = [torch.tensor(images.transpose(0, 3, 1, 2) * 2 - 1) for images in (first, second)]
    expected = lpips(body, heads, *theirs)
    assert expected.std() > 0.001
    extractor = LPIPSFeatures(path, heads_path)
    metric = PerceptualDistance(extractor)
    metric.update_state(first[:1], second[:1])
    assert float(metric.result()) == pytest.approx(expected[0], rel=1e-4)
    metric.update_state(first[1:], second[1:])
    assert float(metric.result()) == pytest.approx(expected.mean(), rel=1e-4)
    features = [extractor(keras.ops.convert_to_tensor(images)) for images in (first, second)]
    loss = perceptual_loss(*features, extractor.channel_weights)
    assert float(loss) == pytest.approx(expected.mean(), rel=1e-4)


def test_without_heads_all_channels_count_one(files, rng):
    path, _, body, heads = files
    ones = {name: torch.ones_like(value) for name, value in heads.items()}
    first, second = rng.random((2, 1, 16, 16, 3), dtype="float32")
    theirs = [torch.tensor(images.transpose(0, 3, 1, 2) * 2 - 1) for images in (first, second)]
    metric = PerceptualDistance(LPIPSFeatures(path))
    metric.update_state(first, second)
    assert float(metric.result()) == pytest.approx(lpips(body, ones, *theirs)[0], rel=1e-4)


def test_wrong_heads_are_named(files, tmp_path):
    _, _, _, heads = files
    with pytest.raises(ValueError, match="`heads`.*a file that exists"):
        LPIPSFeatures(heads=tmp_path / "none.pth")
    wrong = {
        "negative": {**heads, "lin3.model.1.weight": -heads["lin3.model.1.weight"]},
        "without the tensor": {k: v for k, v in heads.items() if "lin2" not in k},
        "shape": {**heads, "lin0.model.1.weight": torch.ones(1, 3, 1, 1)},
    }
    for message, tensors in wrong.items():
        torch.save(tensors, tmp_path / "wrong.pth")
        with pytest.raises(ValueError, match=f"`heads`.*{message}"):
            LPIPSFeatures(heads=tmp_path / "wrong.pth")
    (tmp_path / "noise.pth").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="`heads`.*noise.pth.*cannot be read"):
        LPIPSFeatures(heads=tmp_path / "noise.pth")
    with pytest.raises(ValueError, match="depth"):
        LPIPSFeatures(depth=11)
    assert np.ndim(LPIPSFeatures(depth=19).channel_weights[0]) == 1

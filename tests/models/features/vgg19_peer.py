"""VGG-19 in plain PyTorch, with random weights under torchvision's names."""

import functools

import numpy as np
import torch
from keras import ops

# torchvision's vgg19().features: the index and width of each convolution, and its ReLU taps.
TORCHVISION = {
    **{0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 16: 256},
    **{19: 512, 21: 512, 23: 512, 25: 512, 28: 512, 30: 512, 32: 512, 34: 512},
}
TORCHVISION_TAPS = (3, 8, 15, 24, 33)


@functools.cache
def random_tensors():
    """Random weights under torchvision's names; biases are not zero, so that they count."""
    generator, tensors, channels = np.random.default_rng(0), {}, 3
    for index, filters in TORCHVISION.items():
        kernel = generator.standard_normal((filters, channels, 3, 3), dtype="float32")
        tensors[f"features.{index}.weight"] = kernel * np.float32(np.sqrt(2 / (9 * channels)))
        bias = generator.standard_normal(filters, dtype="float32")
        tensors[f"features.{index}.bias"] = bias * np.float32(0.1)
        channels = filters
    return tensors


def random_images(count=2, height=48, width=37):
    return np.random.default_rng(1).random((count, height, width, 3), dtype="float32")


def torch_features(images, preprocessing="imagenet"):
    """VGG-19 in plain torch, by torchvision's layer indices. `images` (B, H, W, 3), in [0, 1]."""
    x = images.permute(0, 3, 1, 2)
    if preprocessing == "imagenet":
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        x = (x - mean[:, None, None]) / deviation[:, None, None]
    else:
        x = 255 * x.flip(1) - torch.tensor([103.939, 116.779, 123.68])[:, None, None]
    features = []
    for index in range(34):
        if index in TORCHVISION:
            weight, bias = (
                random_tensors()[f"features.{index}.{kind}"] for kind in ("weight", "bias")
            )
            weight, bias = torch.from_numpy(weight), torch.from_numpy(bias)
            x = torch.nn.functional.conv2d(x, weight, bias, padding=1)
        elif index in (4, 9, 18, 27):
            x = torch.nn.functional.max_pool2d(x, 2)
        else:
            x = torch.relu(x)
        if index in TORCHVISION_TAPS:
            features.append(x.permute(0, 2, 3, 1))
    return features


def numpy_list(features):
    return [ops.convert_to_numpy(ops.stop_gradient(feature)) for feature in features]


def relative_errors(features, references):
    pairs = list(zip(numpy_list(features), references, strict=True))
    assert [a.shape for a, _ in pairs] == [tuple(b.shape) for _, b in pairs]
    return [
        np.linalg.norm(a - b.detach().numpy()) / np.linalg.norm(b.detach().numpy())
        for a, b in pairs
    ]

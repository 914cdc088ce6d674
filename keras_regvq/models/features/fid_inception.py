"""The Inception network of FID, with weights from the files that PyTorch projects use."""

import os

import keras
import numpy as np
from keras import layers, ops

from keras_regvq.checks.arguments import check_choice, refuse
from keras_regvq.checks.arrays import check_image_shape_and_dtype, unit_float
from keras_regvq.models.features.weight_files import checked_tensor, read_intact, read_torch

_SIDE, _EPSILON = 299, 1e-3
_AVERAGE, _MAXIMUM = layers.AveragePooling2D, layers.MaxPooling2D
_OUTPUTS = ("pool", "logits_unbiased")


@keras.saving.register_keras_serializable(package="keras_regvq")
class FIDInception(keras.Model):
    """The Inception v3 of the TensorFlow models that FID is defined by (Heusel et al., 2017).

    It is not `keras.applications.InceptionV3`: images are resized to 299 pixels as TensorFlow 1 did
    it, mean pools leave out what is padded, the last block has a maximum pool, and there are 1,008
    classes.

    Args:
        weights: a file of pytorch-fid's or torch-fidelity's tensors (`.pth`, its pickle is never
            executed), or None: random.
        output: "pool", the 2,048 features of FID and KID, or "logits_unbiased", the 1,008 logits
            without bias that the Inception Score is computed from.
        name: name of the model.

    Call arguments:
        images: (B, H, W, 3), uint8 or float in [0, 1]; FID is defined for 8-bit images.

    Returns:
        (B, 2048) or (B, 1008).

    Raises:
        ValueError: for a file that is not found, damaged, of another network, or holds code.

    Example:
        ```python
        network = keras_regvq.models.FIDInception()  # random weights
        network(images).shape  # (4, 2048)
        ```

        ```python norun
        network = keras_regvq.models.FIDInception("pt_inception-2015-12-05-6726825d.pth")
        fid = keras_regvq.metrics.FrechetDistance(network)
        ```
    """

    def __init__(self, weights=None, output="pool", name="fid_inception"):
        super().__init__(name=name, autocast=False)
        self.output_name = check_choice("output", output, _OUTPUTS)
        self.network, convolutions = _build()
        self.classifier = layers.Dense(1008, use_bias=False, name="fc")
        self.classifier.build((None, 2048))
        if weights is not None:
            _load(os.fspath(weights), self.classifier, convolutions)
        self.trainable = False
        self.built = True

    def call(self, images, training=False):
        check_image_shape_and_dtype("images", images)
        images = ops.cast(unit_float(images), "float32") * 255.0
        for axis in (1, 2):
            matrix = ops.convert_to_tensor(_resizing(images.shape[axis]))
            images = ops.moveaxis(ops.tensordot(images, matrix, axes=[[axis], [1]]), -1, axis)
        features = self.network(images / 128.0 - 1.0, training=False)
        return features if self.output_name == "pool" else self.classifier(features)

    def get_config(self):
        return {"output": self.output_name, "name": self.name}


def _resizing(side):
    """The matrix (299, side) of TensorFlow 1's bilinear resizing: pixel i is at i * side / 299."""
    position = np.arange(_SIDE) * (side / _SIDE)
    low = np.floor(position).astype(int)
    matrix = np.zeros((_SIDE, side), "float32")
    for index, weight in ((low, 1 - position + low), (low + 1, position - low)):
        np.add.at(matrix, (np.arange(_SIDE), np.minimum(index, side - 1)), weight)
    return matrix


def _build():
    """The network from (299, 299, 3) to (2048,), and its convolutions by their names in files."""
    convolutions = {}

    def convolve(x, name, channels, kernel, stride=1, padding="same"):
        layer = layers.Conv2D(channels, kernel, stride, padding, data_format="channels_last")
        convolutions[name] = layer
        return layers.ReLU()(layer(x))

    def pool(kind, x, stride=1):
        padding = "same" if stride == 1 else "valid"
        return kind(3, stride, padding, data_format="channels_last")(x)

    def chain(x, prefix, steps, stride=1):
        """Convolutions one after the other; a stride is the last one's."""
        for number, (suffix, channels, kernel) in enumerate(steps, 1):
            last = stride if number == len(steps) else 1
            padding = "same" if last == 1 else "valid"
            x = convolve(x, prefix + suffix, channels, kernel, last, padding)
        return x

    def join(*branches):
        return layers.Concatenate()(branches)

    def block_a(x, name, pooled):
        branch = f"{name}.branch"
        return join(
            chain(x, branch, [("1x1", 64, 1)]),
            chain(x, f"{branch}5x5", [("_1", 48, 1), ("_2", 64, 5)]),
            chain(x, f"{branch}3x3dbl", [("_1", 64, 1), ("_2", 96, 3), ("_3", 96, 3)]),
            chain(pool(_AVERAGE, x), branch, [("_pool", pooled, 1)]),
        )

    def block_b(x, name):
        branch = f"{name}.branch3x3"
        return join(
            chain(x, branch, [("", 384, 3)], stride=2),
            chain(x, f"{branch}dbl", [("_1", 64, 1), ("_2", 96, 3), ("_3", 96, 3)], stride=2),
            pool(_MAXIMUM, x, 2),
        )

    def block_c(x, name, inner):
        branch, row, column = f"{name}.branch", (1, 7), (7, 1)
        double = [("_1", inner, 1), ("_2", inner, column), ("_3", inner, row)]
        double += [("_4", inner, column), ("_5", 192, row)]
        return join(
            chain(x, branch, [("1x1", 192, 1)]),
            chain(x, f"{branch}7x7", [("_1", inner, 1), ("_2", inner, row), ("_3", 192, column)]),
            chain(x, f"{branch}7x7dbl", double),
            chain(pool(_AVERAGE, x), branch, [("_pool", 192, 1)]),
        )

    def block_d(x, name):
        steps = [("_1", 192, 1), ("_2", 192, (1, 7)), ("_3", 192, (7, 1)), ("_4", 192, 3)]
        return join(
            chain(x, f"{name}.branch3x3", [("_1", 192, 1), ("_2", 320, 3)], stride=2),
            chain(x, f"{name}.branch7x7x3", steps, stride=2),
            pool(_MAXIMUM, x, 2),
        )

    def block_e(x, name, pooling):
        branch = f"{name}.branch"

        def fork(x, prefix):
            kernels = (("a", (1, 3)), ("b", (3, 1)))
            return [convolve(x, prefix + side, 384, kernel) for side, kernel in kernels]

        double = chain(x, f"{branch}3x3dbl", [("_1", 448, 1), ("_2", 384, 3)])
        return join(
            chain(x, branch, [("1x1", 320, 1)]),
            *fork(chain(x, f"{branch}3x3", [("_1", 384, 1)]), f"{branch}3x3_2"),
            *fork(double, f"{branch}3x3dbl_3"),
            chain(pool(pooling, x), branch, [("_pool", 192, 1)]),
        )

    inputs = x = keras.Input((_SIDE, _SIDE, 3))
    x = convolve(x, "Conv2d_1a_3x3", 32, 3, 2, "valid")
    x = convolve(x, "Conv2d_2a_3x3", 32, 3, 1, "valid")
    x = pool(_MAXIMUM, convolve(x, "Conv2d_2b_3x3", 64, 3), 2)
    x = convolve(x, "Conv2d_3b_1x1", 80, 1)
    x = pool(_MAXIMUM, convolve(x, "Conv2d_4a_3x3", 192, 3, 1, "valid"), 2)
    for letter, pooled in zip("bcd", (32, 64, 64), strict=True):
        x = block_a(x, f"Mixed_5{letter}", pooled)
    x = block_b(x, "Mixed_6a")
    for letter, inner in zip("bcde", (128, 160, 160, 192), strict=True):
        x = block_c(x, f"Mixed_6{letter}", inner)
    x = block_e(block_d(x, "Mixed_7a"), "Mixed_7b", _AVERAGE)
    x = block_e(x, "Mixed_7c", _MAXIMUM)
    outputs = layers.GlobalAveragePooling2D(data_format="channels_last")(x)
    return keras.Model(inputs, outputs), convolutions


def _load(path, classifier, convolutions):
    """Set the weights; batch norms are folded into their convolutions."""
    if not os.path.isfile(path):
        refuse("weights", repr(path), "None, or a file that exists")
    statistics = ("weight", "bias", "running_mean", "running_var")
    wanted = ["fc.weight"]
    for name in convolutions:
        wanted += [f"{name}.conv.weight", *(f"{name}.bn.{part}" for part in statistics)]
    tensors = read_intact(read_torch, path, wanted, ".pth")

    def tensor(name, shape):
        return checked_tensor(tensors, name, shape, path, "FID's Inception").astype("float64")

    for name, layer in convolutions.items():
        height, width, inputs, outputs = layer.kernel.shape
        kernel = tensor(f"{name}.conv.weight", (outputs, inputs, height, width))
        gamma, beta, mean, variance = (
            tensor(f"{name}.bn.{part}", (outputs,)) for part in statistics
        )
        scale = gamma / np.sqrt(variance + _EPSILON)
        kernel = (kernel * scale[:, None, None, None]).transpose(2, 3, 1, 0)
        layer.set_weights([kernel, beta - mean * scale])
    classifier.set_weights([tensor("fc.weight", (1008, 2048)).T])

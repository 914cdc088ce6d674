"""Frozen networks that turn images into lists of feature maps; VGG-19 with its usual five."""

import keras
import numpy as np
from keras import ops

from keras_regvq.checks.arrays import check_choice, check_image_shape_and_dtype, refuse, unit_float
from keras_regvq.models.features.vgg_weights import load_vgg

# relu1_2, relu2_2, relu3_3, relu4_3, relu5_3. VGG-19 has four convolutions in blocks 3 to 5: the
# third is not the last one. The layers apply the ReLU themselves.
VGG19_LAYERS = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3")

# What networks were trained on, as scale * x + offset of x in [0, 1], channel by channel.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RESCALING = {
    "imagenet": {
        "scale": [1 / d for d in _DEVIATION],
        "offset": [-m / d for m, d in zip(_MEAN, _DEVIATION, strict=True)],
    },
    "caffe": {"scale": [255.0] * 3, "offset": [-103.939, -116.779, -123.68]},
}


@keras.saving.register_keras_serializable(package="keras_regvq")
class FeatureExtractor(keras.Model):
    """Outputs of some layers of a frozen network, for images in [0, 1].

    Only the layers that the outputs need are kept and run, always in inference mode: dropout and
    batch statistics stay off inside a training step. The extractor stays frozen even if a model
    that holds it is made trainable; gradients do flow to the images. The layers are shared with
    `model`, which is thereby frozen too.

    Args:
        model: a functional or built sequential keras.Model with one image input, such as a
            backbone of KerasHub or keras.applications without its top.
        layer_names: names of layers of `model`, in the order wanted.
        preprocessing: what `model` expects. "imagenet": RGB, normalized by ImageNet's mean and
            standard deviation. "caffe": BGR, 0 to 255 minus ImageNet's mean. A keras layer that
            maps [0, 1] to it, such as `keras.layers.Rescaling(255)`. None: [0, 1] as it is.
        name: name of the extractor.

    Call arguments:
        images: (B, H, W, 3), float in [0, 1] or uint8; of any size that `model` takes.

    Returns:
        list of one feature map a layer name, in that layer's dtype.

    Raises:
        ValueError: if `model` has no layer of such a name, is not a graph of layers, or if images
            have the wrong rank, channels or dtype.

    Example:

        network = keras.applications.MobileNetV2(include_top=False, weights=None)
        rescale = keras.layers.Rescaling(2.0, offset=-1.0)
        extractor = FeatureExtractor(network, ["block_1_project", "out_relu"], rescale)
        low, high = extractor(images)
    """

    def __init__(self, model, layer_names, preprocessing=None, name="feature_extractor"):
        # Images are normalized in float32; the layers cast to their own dtype afterwards.
        super().__init__(name=name, autocast=False)
        self.layer_names = list(layer_names)
        self.preprocessing = preprocessing
        if not isinstance(preprocessing, keras.layers.Layer):
            check_choice("preprocessing", preprocessing, (None, *_RESCALING))
            if preprocessing is not None:
                # In four dimensions: one alone is Keras's to place, by the global data format.
                factors = {
                    name: np.reshape(values, (1, 1, 1, 3)).tolist()
                    for name, values in _RESCALING[preprocessing].items()
                }
                preprocessing = keras.layers.Rescaling(**factors, dtype="float32")
        self.rescaling = preprocessing
        self.network = _truncate(model, self.layer_names)
        self.network.trainable = False
        self.built = True

    @property
    def trainable(self):
        """Always False; setting it has no effect."""
        return False

    @trainable.setter
    def trainable(self, value):
        pass

    def call(self, images, training=False):
        check_image_shape_and_dtype("images", images)
        images = ops.cast(unit_float(images), "float32")
        if self.preprocessing == "caffe":
            images = ops.flip(images, axis=-1)
        if self.rescaling is not None:
            images = self.rescaling(images)
        features = self.network(images, training=False)
        # Keras unpacks a list of one.
        return list(features) if isinstance(features, (list, tuple)) else [features]

    def get_config(self):
        preprocessing = self.preprocessing
        if isinstance(preprocessing, keras.layers.Layer):
            preprocessing = keras.saving.serialize_keras_object(preprocessing)
        return {
            "model": keras.saving.serialize_keras_object(self.network),
            "layer_names": list(self.layer_names),
            "preprocessing": preprocessing,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for key in ("model", "backbone", "preprocessing"):
            if isinstance(config.get(key), dict):
                config[key] = keras.saving.deserialize_keras_object(
                    config[key], custom_objects=custom_objects
                )
        return cls(**config)


@keras.saving.register_keras_serializable(package="keras_regvq")
class VGG19Features(FeatureExtractor):
    """Features of VGG-19 (arXiv 1409.1556) after relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3.

    Weights come with a preprocessing, and the wrong one makes another network without any error:
    torchvision and KerasHub normalize RGB by ImageNet's mean and deviation ("imagenet"),
    keras.applications takes BGR from 0 to 255 minus the mean ("caffe"). It follows the file, and
    is kept in the config; the weights themselves are saved as weights, so a config alone gives
    back random ones.

    Args:
        weights: None (random, He normal), "imagenet" (KerasHub's preset, a download), the address
            or folder of another KerasHub VGG-19 preset, or a file: torchvision's `.pth` (its
            pickle is never executed) or `.safetensors`, a legacy Keras `.h5`, a Keras
            `.weights.h5` (whose `preprocessing` must be given: the file does not tell).
        layer_names: names of VGG-19's layers, "block1_conv1" to "block5_conv4".
        backbone: a network to use as it is, in place of a new one; `weights` is then None.
        preprocessing: "imagenet" or "caffe"; None follows the weights ("imagenet" if random).
        seed: integer for random weights; one seed gives the same weights on every backend. None:
            `keras.utils.set_random_seed` decides.
        name: name of the extractor.

    Call arguments:
        images: (B, H, W, 3), float in [0, 1] or uint8, H and W at least 16.

    Returns:
        list of feature maps. The default five are (B, H, W, 64), (B, H/2, W/2, 128),
        (B, H/4, W/4, 256), (B, H/8, W/8, 512), (B, H/16, W/16, 512), sides rounded down.

    Raises:
        ValueError: for weights that are neither known nor found, damaged, of another network, or
            hold code.
        OSError: for a preset that cannot be downloaded.
        ImportError: where a file needs a package that is not installed.

    Example:

        features = VGG19Features("vgg19-dcbb9e9d.pth")
        relu1_2, relu2_2, relu3_3, relu4_3, relu5_3 = features(images)
    """

    def __init__(
        self,
        weights=None,
        layer_names=VGG19_LAYERS,
        backbone=None,
        preprocessing=None,
        seed=None,
        name="vgg19_features",
    ):
        check_choice("preprocessing", preprocessing, (None, *_RESCALING))
        if backbone is not None and weights is not None:
            refuse("weights", f"{weights!r} with a backbone", "None, as the backbone has weights")
        network, preprocessing_of_weights = backbone, "imagenet"
        if backbone is None:
            network, preprocessing_of_weights = load_vgg(weights, layer_names, seed)
        preprocessing = preprocessing or preprocessing_of_weights
        if preprocessing is None:
            refuse("preprocessing", f"None for {weights!r}", "'imagenet' or 'caffe', said by you")
        super().__init__(network, layer_names, preprocessing, name=name)
        self._given_backbone, self.seed = backbone is not None, seed

    def call(self, images, training=False):
        shape = tuple(images.shape)
        if len(shape) == 4 and any(isinstance(side, int) and side < 16 for side in shape[1:3]):
            refuse("images", f"shape {shape}", "a height and a width of at least 16")
        return super().call(images, training=training)

    def get_config(self):
        config = super().get_config()
        network = config.pop("model")
        backbone = network if self._given_backbone else None
        return {**config, "backbone": backbone, "seed": self.seed}


def _truncate(model, layer_names):
    """The part of `model` that leads from its one input to the outputs of the named layers."""
    inputs = getattr(model, "inputs", None)
    if not isinstance(model, keras.Model) or not inputs or len(inputs) != 1:
        refuse("model", repr(model), "a functional or built sequential keras.Model with one input")
    if not layer_names:
        refuse("layer_names", repr(layer_names), "at least one name")
    layers = {layer.name: layer for layer in model.layers}
    for layer_name in layer_names:
        if layer_name not in layers:
            expected = f"layers of {model.name!r}, which are {', '.join(layers)}"
            refuse("layer_names", repr(layer_name), expected)
    outputs = [layers[name].output for name in layer_names]
    return keras.Model(inputs[0], outputs, name=model.name)

"""Frozen networks that turn images into lists of feature maps."""

import keras
import numpy as np
from keras import ops

from keras_regvq.backend.layer_tree import freeze
from keras_regvq.checks.arguments import check_choice, refuse
from keras_regvq.checks.arrays import check_image_shape_and_dtype, unit_float

# What networks were trained on, as scale * x + offset of x in [0, 1], channel by channel.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESCALING = {
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
        ```python
        network = keras.applications.MobileNetV2((64, 64, 3), include_top=False, weights=None)
        extractor = keras_regvq.models.FeatureExtractor(
            network,
            ["block_1_project", "out_relu"],
            preprocessing=keras.layers.Rescaling(2.0, offset=-1.0),
        )
        low, high = extractor(images)
        low.shape  # (4, 16, 16, 24)
        ```
    """

    def __init__(self, model, layer_names, preprocessing=None, name="feature_extractor"):
        # Images are normalized in float32; the layers cast to their own dtype afterwards.
        super().__init__(name=name, autocast=False)
        self.layer_names = list(layer_names)
        self.preprocessing = preprocessing
        if not isinstance(preprocessing, keras.layers.Layer):
            check_choice("preprocessing", preprocessing, (None, *RESCALING))
            if preprocessing is not None:
                # In four dimensions: one alone is Keras's to place, by the global data format.
                factors = {
                    name: np.reshape(values, (1, 1, 1, 3)).tolist()
                    for name, values in RESCALING[preprocessing].items()
                }
                preprocessing = keras.layers.Rescaling(**factors, dtype="float32")
        self.rescaling = preprocessing
        self.network = _truncate(model, self.layer_names)
        freeze(self.network)
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

"""LPIPS's features and channel weights: with them the perceptual loss is LPIPS."""

import os

import keras
from keras import ops

from keras_regvq.checks.arguments import refuse
from keras_regvq.models.features.feature_extractor import FeatureExtractor
from keras_regvq.models.features.vgg import VGG19_LAYERS
from keras_regvq.models.features.vgg_weights import load_vgg
from keras_regvq.models.features.weight_files import checked_tensor, read_intact, read_torch

_CHANNELS = (64, 128, 256, 512, 512)


@keras.saving.register_keras_serializable(package="keras_regvq")
class LPIPSFeatures(FeatureExtractor):
    """A VGG's features after relu1_2, 2_2, 3_3, 4_3 and 5_3, and LPIPS's weights of their channels.

    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018).
    Given to `TokenizerTrainer` or `metrics.PerceptualDistance` it makes the perceptual loss, or
    the distance, LPIPS. Dropout, which LPIPS's heads have for their own training, is none of it.

    Args:
        weights: of the VGG, as `VGG19Features` takes them; None: random. LPIPS's scaling of the
            images is ImageNet's.
        heads: a file of LPIPS's tensors "lin0.model.1.weight" to "lin4.model.1.weight" (its pickle
            is never executed); None: 1 for all channels.
        depth: 16, LPIPS's VGG, or 19.
        seed: integer for random weights. None: `keras.utils.set_random_seed` decides.
        name: name of the extractor.

    Raises:
        ValueError: for files that are not found, damaged or of another network, and for negative
            weights of channels, which no distance has.

    Example:
        ```python
        network = keras_regvq.models.LPIPSFeatures(seed=0)  # random weights
        distance = keras_regvq.metrics.PerceptualDistance(network)
        distance.update_state(images[:1], 255 - images[:1])
        ```

        ```python norun
        network = keras_regvq.models.LPIPSFeatures(
            weights="vgg16-397923af.pth", heads="lpips/weights/v0.1/vgg.pth"
        )
        lpips = keras_regvq.metrics.PerceptualDistance(network)
        ```
    """

    def __init__(self, weights=None, heads=None, depth=16, seed=None, name="lpips_features"):
        if depth not in (16, 19):
            refuse("depth", repr(depth), "16 or 19")
        network, _ = load_vgg(weights, VGG19_LAYERS, seed, depth)
        super().__init__(network, VGG19_LAYERS, "imagenet", name=name)
        self.depth, self.seed = depth, seed
        self._heads = [
            self.add_weight(
                name=f"lin{index}",
                shape=(channels,),
                initializer="ones",
                trainable=False,
                autocast=False,
            )
            for index, channels in enumerate(_CHANNELS)
        ]
        if heads is not None:
            self._load_heads(os.fspath(heads))

    @property
    def channel_weights(self):
        """One (C,) a layer."""
        return [ops.convert_to_tensor(weight) for weight in self._heads]

    def _load_heads(self, path):
        if not os.path.isfile(path):
            refuse("heads", repr(path), "None, or a file that exists")
        names = [f"lin{index}.model.1.weight" for index in range(len(_CHANNELS))]
        tensors = read_intact(read_torch, path, names, ".pth", "heads")
        for name, variable in zip(names, self._heads, strict=True):
            shape = (1, variable.shape[0], 1, 1)
            values = checked_tensor(tensors, name, shape, path, "LPIPS's heads", "heads").ravel()
            if (values < 0).any():
                refuse("heads", f"the file {path!r}, where {name!r} is negative", "at least 0")
            variable.assign(values)

    def get_config(self):
        return {"depth": self.depth, "seed": self.seed, "name": self.name}

"""VGG-19 as a feature network, with the usual five of its layers."""

import keras

from keras_regvq.checks.arguments import check_choice, refuse
from keras_regvq.models.features.feature_extractor import RESCALING, FeatureExtractor
from keras_regvq.models.features.vgg_weights import load_vgg

# relu1_2, relu2_2, relu3_3, relu4_3, relu5_3. VGG-19 has four convolutions in blocks 3 to 5: the
# third is not the last one. The layers apply the ReLU themselves.
VGG19_LAYERS = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3")


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
        ```python
        network = keras_regvq.models.VGG19Features(seed=0)  # random weights
        relu1_2, relu2_2, relu3_3, relu4_3, relu5_3 = network(images[:1])
        relu5_3.shape  # (1, 4, 4, 512)
        ```

        ```python norun
        network = keras_regvq.models.VGG19Features("imagenet")  # or "vgg19-dcbb9e9d.pth"
        tokenizer = keras_regvq.from_preset("regvq_patch4_256")
        trainer = keras_regvq.training.TokenizerTrainer(tokenizer, feature_extractor=network)
        ```
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
        check_choice("preprocessing", preprocessing, (None, *RESCALING))
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

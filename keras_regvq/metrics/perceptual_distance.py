"""Perceptual distance of pairs of images: the LPIPS form over any features."""

import keras

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import describe, rgb
from keras_regvq.losses.perceptual import layer_distances
from keras_regvq.metrics.image_pairs import unit_image_pair


@keras.saving.register_keras_serializable(package="keras_regvq")
class PerceptualDistance(keras.metrics.Mean):
    """Mean over images of the LPIPS-form distance to their originals; lower is better.

    `losses.perceptual_loss`, image by image: of each layer's features, scaled to length 1, the
    squared difference, averaged over the positions and summed over the layers (Zhang et al., "The
    Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018). With
    `models.LPIPSFeatures` and LPIPS's own files it is LPIPS.

    Args:
        feature_extractor: a function of images, float32 (B, H, W, 3) in [0, 1], to a list of
            feature maps (B, h, w, C), such as `models.VGG19Features` or `models.FeatureExtractor`.
        name: name of the metric.

    The extractor is no part of the config: a config holds no weights.

    Raises:
        ValueError: from `update_state`, for images of another rank, dtype or range, or of unequal
            shapes. In a compiled function a wrong range gives NaN instead.

    Example:
        ```python
        network = keras_regvq.models.EfficientNetLite0Features(None)  # "imagenet" for real use
        distance = keras_regvq.metrics.PerceptualDistance(network)
        tokenizer = keras_regvq.from_preset("regvq_scenes_64")
        distance.update_state(images, tokenizer.reconstruct(images))
        float(distance.result())  # lower is better
        ```
    """

    def __init__(self, feature_extractor=None, name="perceptual_distance", dtype="float32"):
        super().__init__(name=name, dtype=dtype)
        self.feature_extractor = feature_extractor

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add images (B, H, W, 3) and what became of them; `sample_weight` (B,) weighs them."""
        if self.feature_extractor is None:
            refuse("feature_extractor", describe(None), "a function of images to feature maps")
        y_true, y_pred = unit_image_pair(y_true, y_pred, 1.0)
        features = [self.feature_extractor(rgb(images)) for images in (y_true, y_pred)]
        weights = getattr(self.feature_extractor, "channel_weights", None)
        super().update_state(sum(layer_distances(*features, weights)), sample_weight)

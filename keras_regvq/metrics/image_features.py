"""Features of real and generated images, kept for distances between the two sets."""

import keras
import numpy as np

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import check_images, describe, rgb, unit_float


class ImageFeatures(keras.metrics.Metric):
    """Base of the distances between two sets of images: keeps the features of each.

    A distance between sets is not a mean over batches, so the features are kept, in host memory as
    float64: 8 N F bytes a set, which is 160 MB for 10,000 images of 2,048 features.

    For use after `fit` or from a callback, and not in `compile`: inside a compiled function, and on
    JAX in any `fit`, tensors have no values to keep, which is a ValueError. Where Keras runs step
    by step (PyTorch, or TensorFlow with `run_eagerly=True`) it is right in `compile` too, but slow,
    since the result is computed after every batch.

    Args:
        feature_extractor: a keras model or another function of images, float32 (B, H, W, 3) in
            [0, 1], to features (B, F), or feature maps (B, h, w, F), whose mean over h and w
            counts. Of a list of maps, such as `FeatureExtractor` gives, the last one counts. It
            must be in inference mode by itself, as keras models are when they are called. None:
            `update_state` takes features (B, F) instead of images.
        name: name of the metric.

    The extractor is no part of the config: a config holds no weights, and a distance under other
    weights is another number. A copy made from the config takes features.
    """

    def __init__(self, feature_extractor=None, name=None, dtype="float32"):
        super().__init__(name=name, dtype=dtype)
        if feature_extractor is not None and not callable(feature_extractor):
            expected = "a model or function of images (B, H, W, 3), or None"
            refuse("feature_extractor", describe(feature_extractor), expected)
        self.feature_extractor = feature_extractor
        self.reset_state()

    def update_state(self, y_true=None, y_pred=None, sample_weight=None):
        """Add images to one set or to both.

        Args:
            y_true: real images, (B, H, W, 3), uint8 or float in [0, 1], or None. Grey images
                count as RGB, and a fourth channel does not count.
            y_pred: generated images, likewise; their number and size may differ.
            sample_weight: None; Keras passes it along, but these sets have no weights.

        Raises:
            ValueError: if both are None; for sample weights; for images of another rank, dtype or
                range; for features that do not fit; and inside a compiled function. Neither set is
                changed then.
        """
        if sample_weight is not None:
            refuse("sample_weight", describe(sample_weight), "None: images are not weighted")
        given = {"y_true": y_true, "y_pred": y_pred}
        given = {argument: images for argument, images in given.items() if images is not None}
        if not given:
            refuse("y_true and y_pred", "None", "real images, generated images, or both")
        found = {argument: self._extract(argument, images) for argument, images in given.items()}
        kept = [batches[0] for batches in self._features.values() if batches]
        sizes = {features.shape[1] for features in (*kept, *found.values())}
        if len(sizes) > 1:
            received = f"features of sizes {', '.join(map(str, sorted(sizes)))}"
            refuse(" and ".join(found), received, "one feature size for all images")
        for argument, features in found.items():
            self._features[argument].append(features)

    def features(self, argument):
        """Those of "y_true" or "y_pred" since the last reset, float64 (N, F).

        Raises:
            ValueError: if there are less than two, which have no spread.
        """
        batches = self._features[argument]
        count = sum(map(len, batches))
        if count < 2:
            kind = {"y_true": "real", "y_pred": "generated"}[argument]
            received = f"{count} {kind} image{'' if count == 1 else 's'} since the last reset"
            refuse(argument, received, "at least 2 of each set before result()")
        return np.concatenate(batches)

    def reset_state(self):
        self._features = {"y_true": [], "y_pred": []}

    def _extract(self, argument, images):
        """float64 (B, F) of a batch of images, or of features where there is no extractor."""
        images = _known_values(argument, images)
        if self.feature_extractor is None:
            features = _to_numpy(images)
            if features.ndim != 2 or 0 in features.shape:
                expected = "features (B, F), or images and a feature_extractor"
                refuse(argument, describe(features), expected)
            return _check_finite(argument, features)
        images = rgb(unit_float(check_images(argument, images, channels=None)))
        features = self.feature_extractor(keras.ops.cast(images, "float32"))
        if isinstance(features, (list, tuple)) and features:
            features = features[-1]
        expected = f"features (B, F) or (B, h, w, F) of {images.shape[0]} images"
        if not hasattr(features, "shape"):
            received = f"an output of type {type(features).__name__}"
            refuse("feature_extractor", received, expected)
        features = _to_numpy(features)
        if features.ndim == 4:
            features = features.mean(axis=(1, 2))
        if features.ndim != 2 or len(features) != images.shape[0]:
            refuse("feature_extractor", describe(features), expected)
        return _check_finite("feature_extractor", features)


def _check_finite(argument, features):
    """A distance of such features would be a wrong number, or an error of linear algebra."""
    if not np.isfinite(features).all():
        refuse(argument, "features that are NaN or infinite", "finite features")
    return features


def _to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor).astype("float64")


def _known_values(argument, tensor):
    """NumPy values of a tensor; refuses one that, as in a compiled function, has none yet."""
    if not hasattr(tensor, "shape") or isinstance(tensor, np.ndarray):
        return tensor
    try:
        return keras.ops.convert_to_numpy(tensor)
    # JAX raises a TypeError, TensorFlow and PyTorch a NotImplementedError, Keras a ValueError.
    except (TypeError, NotImplementedError, ValueError):
        received = f"a symbolic tensor of shape {tuple(tensor.shape)}"
        refuse(argument, received, "values: call this metric outside of compiled functions")

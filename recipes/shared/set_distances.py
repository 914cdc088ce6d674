"""Distances between sets of images, on features of EfficientNet-Lite0."""

import keras
import numpy as np

from keras_regvq.metrics import FrechetDistance, KernelDistance, ManifoldPrecision, ManifoldRecall
from keras_regvq.models import EfficientNetLite0Features

BATCH = 32
FEWEST_IMAGES = 4  # precision and recall look at each image's three nearest ones


def feature_networks(name):
    """None, or the feature maps of pairs of images and the features of sets of them.

    Args:
        name: "none", "efficientnet" (ImageNet weights) or "random" (none, for tests).
    """
    if name == "none":
        return None
    weights = "imagenet" if name == "efficientnet" else None
    # Random weights are the same in every run, so that its numbers can be compared.
    sets = EfficientNetLite0Features(weights, ("head",), seed=0)
    return EfficientNetLite0Features(weights, seed=0), lambda images: sets(images)[0]


def distances(features, real, made):
    """Set distances of made images, uint8 or float (n, H, W, 3), to real ones."""
    metrics = {
        "frechet_distance": FrechetDistance(),
        "kernel_distance": KernelDistance(),
        "precision": ManifoldPrecision(),
        "recall": ManifoldRecall(),
    }
    for argument, images in (("y_true", real), ("y_pred", made)):
        for start in range(0, len(images), BATCH):
            maps = features(unit_range(images[start : start + BATCH]))
            maps = keras.ops.convert_to_numpy(maps)
            for metric in metrics.values():
                metric.update_state(**{argument: maps.mean(axis=(1, 2))})
    return {name: float(metric.result()) for name, metric in metrics.items()}


def unit_range(images):
    """uint8 or float images as floats in [0, 1]."""
    return images / np.float32(255) if images.dtype == np.uint8 else images

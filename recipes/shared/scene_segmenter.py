"""A small network that labels the pixels of scenes: it checks what generators make of maps."""

from pathlib import Path

import keras
import numpy as np
from keras import layers

import keras_regvq
from keras_regvq.data import SCENE_CLASSES
from keras_regvq.metrics import KernelDistance
from shared.kept_network import kept_network

# Far from the seeds that tokenizers and priors train on.
FIRST_SEED, EXAMPLES, EPOCHS, BATCH_SIZE = 1_000_000, 4000, 4, 16


def build_segmenter():
    """A U-Net of four levels: float images (B, H, W, 3) in [0, 1] -> logits (B, H, W, 16)."""
    inputs = keras.Input((None, None, 3))
    x, skipped = inputs * 2 - 1, []
    for channels in (8, 16, 32):
        x = _convolve(x, channels)
        skipped.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Activation("linear", name="features")(_convolve(x, 48))
    for skip in reversed(skipped):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
        x = _convolve(x, skip.shape[-1])
    return keras.Model(inputs, layers.Conv2D(len(SCENE_CLASSES), 1)(x), name="scene_segmenter")


def _convolve(x, channels):
    x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.Activation("relu")(x)


def load_segmenter(path=Path("runs/scene_segmenter.keras"), size=64):
    """The segmenter kept at `path`, trained and kept there if it is missing: a minute or two."""
    return kept_network(path, build_segmenter, lambda segmenter: _train(segmenter, size))


def _train(segmenter, size):
    data = keras_regvq.data.scenes(EXAMPLES, size=size, first_seed=FIRST_SEED)
    steps = EPOCHS * EXAMPLES // BATCH_SIZE
    segmenter.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["sparse_categorical_accuracy"],
    )
    images = data["images"].astype("float32") / 255
    segmenter.fit(images, data["labels"], batch_size=BATCH_SIZE, epochs=EPOCHS)


def feature_network(segmenter):
    """Its coarsest features, (B, H/8, W/8, 48): what kernel distances compare."""
    return keras.Model(segmenter.input, segmenter.get_layer("features").output)


def agreement(segmenter, images, label_maps):
    """How well images agree with label maps, as the segmenter sees them.

    Args:
        images: (n, H, W, 3), uint8 or float in [0, 1].
        label_maps: integers (n, H, W).

    Returns:
        dict of "pixel_accuracy" and "mean_iou", the mean over the classes in the maps of
        intersection over union, counted over all pixels.
    """
    if images.dtype == np.uint8:
        images = images.astype("float32") / 255
    found = segmenter.predict(images, batch_size=32, verbose=0).argmax(-1)
    count = len(SCENE_CLASSES)
    confusion = np.bincount((label_maps * count + found).ravel(), minlength=count**2)
    confusion = confusion.reshape(count, count)
    correct = np.diag(confusion)
    present = confusion.sum(axis=1) > 0
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - correct
    return {
        "pixel_accuracy": float(correct.sum() / confusion.sum()),
        "mean_iou": float((correct[present] / union[present]).mean()),
    }


def measure(segmenter, images, real, label_maps):
    """Agreement with the maps, and the kernel distance to real images of other scenes."""
    distance = KernelDistance(feature_network(segmenter))
    for name, values in (("y_true", real), ("y_pred", images)):
        for start in range(0, len(values), 64):
            batch = values[start : start + 64]
            batch = batch.astype("float32") / 255 if batch.dtype == np.uint8 else batch
            distance.update_state(**{name: batch})
    numbers = agreement(segmenter, images, label_maps)
    return {**numbers, "kernel_distance": float(distance.result())}

"""A small network that names what is in a scene: it checks what generators make of captions."""

from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

import keras_regvq
from keras_regvq.data.procedural.plan import COLOURS, GROUNDS, KINDS, TIMES
from keras_regvq.metrics import KernelDistance
from shared.kept_network import kept_network

# Of split "test", which has the pairs that "train" never shows, far from the seeds that are asked.
FIRST_SEED, EXAMPLES, EPOCHS, BATCH_SIZE = 1_000_000, 6000, 8, 32
PAIRS = [(colour, kind) for kind in KINDS for colour in COLOURS]
GROUND_NAMES = tuple(GROUNDS)


def build_classifier():
    """float images (B, H, W, 3) in [0, 1] -> logits of "pairs" (B, 42), "ground", "time" (B, 4).

    A pair of colour and kind is looked for in each patch, and the surest patch decides.
    """
    inputs = keras.Input((None, None, 3))
    x = inputs * 2 - 1
    for channels in (16, 32, 64):
        x = _convolve(_convolve(x, channels), channels)
        x = layers.MaxPooling2D()(x)
    x = layers.Activation("linear", name="features")(_convolve(_convolve(x, 96), 96))
    pairs = layers.GlobalMaxPooling2D(name="pairs")(layers.Conv2D(len(PAIRS), 1)(x))
    whole = layers.GlobalAveragePooling2D()(x)
    ground = layers.Dense(len(GROUND_NAMES), name="ground")(whole)
    time = layers.Dense(len(TIMES), name="time")(whole)
    return keras.Model(
        inputs, {"pairs": pairs, "ground": ground, "time": time}, name="scene_classifier"
    )


def _convolve(x, channels):
    x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
    return layers.Activation("relu")(layers.BatchNormalization()(x))


def targets(attributes):
    """The classifier's targets of a list of scenes' attributes."""
    pairs = np.zeros((len(attributes), len(PAIRS)), "float32")
    for row, facts in zip(pairs, attributes, strict=True):
        for thing in facts["objects"]:
            row[PAIRS.index((thing["colour"], thing["kind"]))] = 1
    return {
        "pairs": pairs,
        "ground": np.array([GROUND_NAMES.index(facts["ground"]) for facts in attributes]),
        "time": np.array([TIMES.index(facts["time"]) for facts in attributes]),
    }


def load_classifier(path=Path("runs/scene_classifier.keras"), size=64):
    """The classifier kept at `path`, trained and kept there if it is missing: some minutes."""
    return kept_network(path, build_classifier, lambda classifier: _train(classifier, size))


def _train(classifier, size):
    data = keras_regvq.data.scenes(EXAMPLES, size=size, split="test", first_seed=FIRST_SEED)
    choice = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    pairs = keras.losses.BinaryCrossentropy(from_logits=True)
    classifier.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * EXAMPLES // BATCH_SIZE)
        ),
        {"pairs": pairs, "ground": choice, "time": choice},
        loss_weights={"pairs": 10.0, "ground": 1.0, "time": 1.0},
    )
    images = data["images"].astype("float32") / 255
    classifier.fit(images, targets(data["attributes"]), batch_size=BATCH_SIZE, epochs=EPOCHS)


def feature_network(classifier):
    """Its features, (B, H/8, W/8, 96): what kernel distances compare."""
    return keras.Model(classifier.input, classifier.get_layer("features").output)


def found_facts(classifier, images, attributes):
    """Which share of what captions name is found in pictures.

    Args:
        images: (n, H, W, 3), uint8 or float in [0, 1].
        attributes: of the n scenes whose captions were given.

    Returns:
        dict of shares: "kinds" (of the named objects, in whatever colour), "objects" (in the
        colour that was named), "ground", "time"; and "facts", of all objects, grounds and times
        together.
    """
    if images.dtype == np.uint8:
        images = images.astype("float32") / 255
    seen = classifier.predict(images, batch_size=32, verbose=0)
    wanted = targets(attributes)
    chances = ops.convert_to_numpy(ops.sigmoid(seen["pairs"])) > 0.5
    named = wanted["pairs"] > 0
    by_kind = chances.reshape(len(chances), len(KINDS), -1).any(-1)
    kinds = np.repeat(by_kind, len(COLOURS), axis=1)
    choices = {name: seen[name].argmax(-1) == wanted[name] for name in ("ground", "time")}
    facts = np.concatenate([chances[named], *choices.values()])
    return {
        "kinds": float(kinds[named].mean()),
        "objects": float(chances[named].mean()),
        "ground": float(choices["ground"].mean()),
        "time": float(choices["time"].mean()),
        "facts": float(facts.mean()),
    }


def kernel_distance(classifier, images, real):
    """The kernel distance of images, uint8 or float (n, H, W, 3), to real ones."""
    distance = KernelDistance(feature_network(classifier))
    for name, values in (("y_true", real), ("y_pred", images)):
        values = values.astype("float32") / 255 if values.dtype == np.uint8 else values
        for start in range(0, len(values), 64):
            distance.update_state(**{name: values[start : start + 64]})
    return float(distance.result())

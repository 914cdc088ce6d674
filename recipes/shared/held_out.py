"""The images that a command measures: loading them, and saying how many there were of what."""

import warnings
from pathlib import Path

import numpy as np

import keras_regvq
from keras_regvq.backend.processes import alone
from keras_regvq.checks.arguments import check_size
from keras_regvq.data.sources.folder_roots import find_roots

SPLITS = ("test", "train", "all")
FEW_IMAGES, FEW_FOR_SETS = 50, 1000


def load_part(source, split, size, fields, count, channels=3, seed=0):
    """The first examples of a part of a data set, the same in all processes.

    Args:
        source, split: as `keras_regvq.data.load` takes them; split "all" is every example.
        size: side, or (height, width).
        fields: names.
        count: at most so many.
        channels: of the images.
        seed: draws one of several captions.

    Returns:
        dict of arrays (n, ...), 1 <= n <= count.
    """
    with alone():
        data = keras_regvq.data.load(
            source, split=split, image_size=_side(size), batch_size=32, fields=fields,
            shuffle=False, seed=seed, num_examples=count, drop_remainder=False, channels=channels,
        )  # fmt: skip
    batches = list(data.as_numpy_iterator())
    return {name: np.concatenate([batch[name] for batch in batches]) for name in fields}


def describe_part(source, split, size, measured, count):
    """Which images were measured, and of how many, in words.

    Args:
        measured: how many there were.
        count: how many were asked for.
    """
    text = f"{measured} of split {split!r} of {source}"
    if measured >= count or split == "all":
        return text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is left out has been said
        every = keras_regvq.data.load(
            source, split="all", image_size=_side(size), batch_size=1, shuffle=False
        )
    total = int(every.cardinality())
    if total <= measured:
        return text
    text += f", which has {total} images in all"
    if split == "test" and _has_no_splits(source):
        text += (
            ": it has no folders for splits, so about a tenth, by name, is set aside for testing"
        )
    return f"{text}; --split all uses every image"


def warnings_of(measured, sets):
    """What to keep in mind about numbers of so few images, a list of sentences.

    Args:
        measured: the number of images.
        sets: whether distances between sets are among the numbers.
    """
    if measured < FEW_IMAGES:
        few = "1 image is" if measured == 1 else f"{measured} images are"
        return [f"{few} few: others would give other numbers."]
    if sets and measured < FEW_FOR_SETS:
        return [
            f"{measured} images are few for distances between sets: compare them only with those "
            "of as many images, and prefer the kernel distance."
        ]
    return []


def best_and_worst(scores, most=10):
    """Indices of the best and of the worst `most` images, which share none; the worst come first
    in the second, which is empty for one image."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    best = min(most, (len(order) + 1) // 2)
    worst = min(most, len(order) - best)
    return order[:best], order[len(order) - worst :][::-1]


def _side(size):
    height, width = check_size("size", size)
    return height if height == width else (height, width)


def _has_no_splits(source):
    kind, _, location = source.partition(":")
    return kind == "folder" and find_roots(Path(location).expanduser(), "test")[1]

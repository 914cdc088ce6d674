"""Writing picture folders, and reading them through `load`."""

import numpy as np
from PIL import Image

from keras_regvq.data import load


def write(path, array_or_image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = array_or_image
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    image.save(path, **options)


def flat(value, height=32, width=32):
    return np.full((height, width, 3), value, np.uint8)


def read_all(source, split="test", **options):
    options = {"image_size": 32, "batch_size": None, **options}
    return list(load(source, split, **options).as_numpy_iterator())


def only(folder, **options):
    (example,) = read_all(f"folder:{folder}", **options)
    return example

"""Finding the images in what users hand to `fit`."""

import numpy as np

from keras_regvq.validation import check_image_shape_and_dtype, check_images, describe, refuse


def images_of(batch):
    """The images of a batch: itself, its first element, or its entry "images"."""
    if isinstance(batch, (tuple, list)):
        batch = batch[0]
    if isinstance(batch, dict):
        if "images" not in batch:
            refuse("batch", f"a dict with keys {sorted(batch)}", 'a dict with the key "images"')
        batch = batch["images"]
    return batch


def check_first_images(argument, data, factor):
    """Check arrays wholly, and of a dataset that can be looked into, the first batch.

    Datasets that can be read only once (generators) are left alone: the training step still
    checks shape and dtype.
    """
    if data is None:
        return
    if hasattr(data, "take") and hasattr(data, "element_spec"):  # tf.data.Dataset
        batch = next(iter(data.take(1)), None)
        if batch is None:
            refuse(argument, "an empty dataset", "at least one batch of images")
        check_images(argument, images_of(batch), factor)
    elif hasattr(data, "__getitem__") and hasattr(data, "num_batches"):  # keras PyDataset
        check_images(argument, images_of(data[0]), factor)
    elif isinstance(data, (np.ndarray, dict, tuple, list)) or hasattr(data, "dtype"):
        images = images_of(data)
        if not hasattr(images, "shape"):
            refuse(argument, describe(images), "images of shape (B, H, W, 3) or a dataset of them")
        check_image_shape_and_dtype(argument, images, factor)
        for start in range(0, len(images), 1024):  # a slice at a time: floats are copied
            check_images(argument, images[start : start + 1024], factor)

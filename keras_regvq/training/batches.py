"""Finding the images in what users hand to `fit`."""

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import check_image_shape_and_dtype, check_images, describe


def images_of(batch):
    """The images of a batch: itself, its first element, or its entry "images"."""
    if isinstance(batch, (tuple, list)):
        batch = batch[0]
    if isinstance(batch, dict):
        if "images" not in batch:
            refuse("batch", f"a dict with keys {sorted(batch)}", 'a dict with the key "images"')
        batch = batch["images"]
    return batch


def check_image_batches(argument, images, factor, channels=3):
    """`check_images` of many: a slice at a time, since floats are copied."""
    if not hasattr(images, "shape"):
        refuse(argument, describe(images), "images of shape (B, H, W, 3) or a dataset of them")
    check_image_shape_and_dtype(argument, images, factor, channels)
    for start in range(0, len(images), 1024):
        check_images(argument, images[start : start + 1024], factor, channels)

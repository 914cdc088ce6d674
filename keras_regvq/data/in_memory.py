"""`from_arrays`: arrays at hand as the dataset that `load` makes of files."""

from keras_regvq.checks.arguments import check_integer
from keras_regvq.data.loading import check_flip_and_channels
from keras_regvq.data.pipeline import batch_dataset, example_dataset
from keras_regvq.data.sources.arrays import ArrayExamples


def from_arrays(
    images,
    labels=None,
    captions=None,
    image_size=None,
    batch_size=32,
    shuffle=True,
    seed=0,
    drop_remainder=None,
    cache=None,
    flip=False,
    channels=3,
):
    """Makes the dataset that `load` makes from arrays at hand; it has the fields that are given.

    Args:
        images: uint8, or float in [0, 1], (N, H, W, C) with C of 1, 3 or 4.
        labels: integers (N, H, W).
        captions: N strings, or (N, K) strings of which each pass draws one of K.
        image_size: Side, or (height, width), that images and labels are scaled and cropped to;
            None: as they are.
        batch_size, shuffle, seed, drop_remainder, cache, flip, channels: as in `load`;
            `drop_remainder` None leaves a smaller last batch out where `shuffle` is set.

    Returns:
        A `tf.data.Dataset` of known cardinality.

    Example:
        ```python
        scenes = keras_regvq.data.scenes(8, size=64)
        train = keras_regvq.data.from_arrays(scenes["images"], scenes["labels"], batch_size=4)
        batch = next(iter(train))
        batch["labels"].shape  # (4, 64, 64)
        ```
    """
    check_flip_and_channels(flip, channels)
    if batch_size is not None:
        check_integer("batch_size", batch_size, 1)
    check_integer("seed", seed, 0)
    examples = ArrayExamples(images, labels, captions, image_size, channels)
    fields = examples.fields
    dataset = example_dataset(examples, fields, shuffle, seed, cache, flip, batch_size)
    return batch_dataset(dataset, len(examples), batch_size, drop_remainder, shuffle)

"""TensorFlow Datasets: which of a dataset's features are images, label maps and captions."""

from keras_regvq.data.pictures import fit_image, fit_labels, to_uint8
from keras_regvq.data.pipeline import should_cache, tensorflow
from keras_regvq.refusal import check_size, refuse

_SHUFFLED_BYTES = 2**28  # the size of the shuffle buffer
_NAMES = {
    "images": ("image", "images"),
    "labels": (
        *("segmentation_mask", "segmentation_label", "semantic_mask", "label_map", "labels"),
        *("label", "annotation", "annotations", "mask"),
    ),
    "captions": ("captions", "caption", "text", "description"),
}


def open_tfds(
    name,
    split,
    image_size,
    fields,
    shuffle,
    seed,
    limit=None,
    cache=None,
    data_dir=None,
    download=True,
    splits=None,
    channels=3,
    flip=False,
):
    """Opens a dataset of TensorFlow Datasets by its name; see `load` for the arguments.

    "images" are the feature "image"; "labels" an integer feature (H, W) or (H, W, 1) such as
    "segmentation_mask"; "captions" a text or a sequence of texts such as "captions", "caption", or
    "captions" / "text". The test split is the dataset's "test", "validation" if there is none, or
    else the last tenth of "train"; "all" are all of the dataset's splits. `scene_parse150` has no
    such label map: it holds instance annotations in colour; open ADEChallengeData2016 itself as a
    folder.

    Args:
        data_dir: Where TFDS keeps its data; None: its own default.
        download: Whether data that is not there yet is fetched and prepared. Without a network
            pass False: TFDS tries for minutes.
        splits: TFDS split names by split, such as `{"test": "validation[:100]"}`.

    Returns:
        A `tf.data.Dataset` of single examples, and their number.

    Raises:
        ImportError: if tensorflow-datasets is not installed.
        ValueError: for a dataset that is unknown or not there, or without a feature for a field.
    """
    builder = _builder(name, data_dir, download)
    tf = tensorflow()
    size = check_size("image_size", image_size)
    wanted = _split_name(builder, name, split, splits or {})
    paths = {field: _find_feature(builder.info.features, field, name) for field in fields}
    try:
        dataset = builder.as_dataset(split=wanted, shuffle_files=False)
    except (ValueError, KeyError) as error:
        available = ", ".join(builder.info.splits)
        refuse("splits", f"{wanted!r} ({error})", f"a split of {name}, which has {available}")
    if limit is not None:
        dataset = dataset.take(limit)
    count = int(dataset.cardinality())
    dataset = dataset.map(
        lambda features: _select(tf, features, paths, size, channels),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    if should_cache(cache, count, *size, fields, channels):
        dataset = dataset.cache()
    if shuffle:
        buffer = min(count, max(_SHUFFLED_BYTES // ((channels + 4) * size[0] * size[1]), 256))
        dataset = dataset.shuffle(buffer, seed=seed)
    if "captions" in fields or flip:
        draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=bool(shuffle))
        dataset = tf.data.Dataset.zip(dataset, draws)
        dataset = dataset.map(lambda example, draw: _draw(tf, example, draw, flip))
    return dataset, count


def _builder(name, data_dir, download):
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            'A "tfds:" source needs tensorflow-datasets: pip install "keras_regvq[tfds]".'
        ) from error
    try:
        builder = tensorflow_datasets.builder(name, data_dir=data_dir)
    except (tensorflow_datasets.core.registered.DatasetNotFoundError, ValueError) as error:
        message = str(error).strip().splitlines()[0]
        refuse("source", f'"tfds:{name}" ({message})', "the name of a TensorFlow dataset")
    if download:
        builder.download_and_prepare()
    if not builder.is_prepared():
        received = f'"tfds:{name}" with download=False, not prepared in {builder.data_path}'
        refuse("source", received, "a prepared dataset, its data_dir, or download=True")
    return builder


def _split_name(builder, name, split, splits):
    if not isinstance(splits, dict) or not set(splits) <= {"train", "test", "all"}:
        refuse("splits", repr(splits), 'a dict of split names for "train", "test" and "all"')
    if split in splits:
        return splits[split]
    available = list(builder.info.splits)
    if split == "all":
        return "+".join(available)
    if "train" not in available:
        refuse("splits", f"nothing for {split!r}; {name} has {available}", "a dict that says which")
    if "test" in available or "validation" in available:
        test = "test" if "test" in available else "validation"
        return {"train": "train", "test": test}[split]
    return {"train": "train[:90%]", "test": "train[90%:]"}[split]


def _find_feature(features, field, name):
    """The path of names to the feature for `field`."""
    for key in _NAMES[field]:
        path = _fits(features[key], field, (key,)) if key in features else None
        if path:
            return path
    expected = {
        "images": 'a feature "image" of shape (H, W, 1 or 3)',
        "labels": f"an integer feature of shape (H, W[, 1]): one of {', '.join(_NAMES[field])}",
        "captions": f"a text feature: one of {', '.join(_NAMES[field])}",
    }[field]
    refuse("fields", f"{field!r} of {name}, which has {', '.join(features)}", expected)


def _fits(feature, field, path):
    if field == "captions":
        inner = getattr(feature, "feature", feature)  # a sequence's element
        for key in _NAMES[field] if hasattr(inner, "keys") else ():
            if key in inner.keys():
                return _fits(inner[key], field, (*path, key))
        is_text = getattr(inner, "dtype", None) in (str, bytes) or "string" in repr(inner)
        return path if is_text and not hasattr(inner, "keys") else None
    shape, dtype = feature.shape, feature.dtype
    if not isinstance(shape, tuple):
        return None
    integer = "int" in str(dtype)
    if field == "images":
        fits = len(shape) == 3 and shape[-1] in (1, 3)
    else:
        fits = integer and (len(shape) == 2 or (len(shape) == 3 and shape[-1] == 1))
    return path if fits else None


def _select(tf, features, paths, size, channels):
    def take(path):
        value = features
        for key in path:
            value = value[key]
        return value

    def images(value):
        return fit_image(to_uint8(value, channels), *size)

    def labels(value):
        return fit_labels(value.reshape(value.shape[:2]).astype("int32"), *size)

    example = {}
    for field, path in paths.items():
        if field == "captions":
            example[field] = tf.reshape(take(path), [-1])
        elif field == "images":
            image = tf.numpy_function(images, [take(path)], tf.uint8)
            example[field] = tf.ensure_shape(image, (*size, channels))
        else:
            label = tf.numpy_function(labels, [take(path)], tf.int32)
            example[field] = tf.ensure_shape(label, size)
    return example


def _draw(tf, example, draw, flip):
    """One of an example's captions, or "" where it has none; and mirrored for half of the draws."""
    if flip:
        flipped = tf.equal(tf.bitwise.right_shift(draw, 31) & 1, 1)
        for name in example.keys() - {"captions"}:
            value = example[name]
            example = {**example, name: tf.where(flipped, tf.reverse(value, [1]), value)}
    if "captions" not in example:
        return example
    texts = tf.concat([example["captions"], [""]], 0)
    count = tf.cast(tf.shape(texts)[0] - 1, draw.dtype)
    text = texts[tf.math.floormod(draw, tf.maximum(count, 1))]
    return {**example, "captions": text}

"""TensorFlow Datasets: which of a dataset's features are images, label maps and captions."""

from keras_regvq.checks.arguments import check_size, refuse
from keras_regvq.data.decoding import fit_image, fit_labels, to_uint8
from keras_regvq.data.order import order_of_pass, pass_numbers
from keras_regvq.data.own_part import own_examples
from keras_regvq.data.pipeline import should_cache, tensorflow
from keras_regvq.data.sources.tfds_splits import open_builder, range_of_split, split_name

_SHUFFLED_BYTES = 2**28  # the size of the shuffle buffer
_ENCODED_BYTES = 2**17  # of a usual picture file
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
    batch_size=None,
    from_step=None,
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
    size = check_size("image_size", image_size)
    dataset, select, count = open_undrawn(
        name, split, size, fields, limit, channels, data_dir, download, splits
    )
    tf = tensorflow()
    # Files are shuffled and skipped as they are, and decoded after that.
    cached = should_cache(cache, count, *size, fields, channels)
    decoded = (channels + 4) * size[0] * size[1]
    if cached:
        dataset = dataset.map(select, num_parallel_calls=tf.data.AUTOTUNE).cache()
    buffer = _SHUFFLED_BYTES // (decoded if cached else max(decoded, _ENCODED_BYTES))
    buffer = min(count, max(buffer, 256)) if shuffle else None
    dataset = _passes(tf, dataset, count, buffer, seed, batch_size, from_step)
    if not cached:
        dataset = dataset.map(lambda e, d: (select(e), d), num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.map(lambda example, draw: _draw(tf, example, draw, flip)), count


def open_undrawn(
    name,
    split,
    size,
    fields,
    limit,
    channels=3,
    data_dir=None,
    download=True,
    splits=None,
    part=None,
):
    """The examples as they are kept, or some of them, what makes tensors of one, and how many."""
    builder = open_builder(name, data_dir, download)
    tf = tensorflow()
    wanted = split_name(builder, name, split, splits or {})
    paths = {field: _find_feature(builder.info.features, field, name) for field in fields}
    decoders = {path[0]: _undecoded(builder.info.features[path[0]]) for path in paths.values()}
    decoders = {name: decoder for name, decoder in decoders.items() if decoder is not None}
    try:
        own = wanted if part is None else range_of_split(builder, wanted, part)
        dataset = builder.as_dataset(split=own, shuffle_files=False, decoders=decoders or None)
    except (ValueError, KeyError) as error:
        available = ", ".join(builder.info.splits)
        refuse("splits", f"{wanted!r} ({error})", f"a split of {name}, which has {available}")
    dataset = dataset if limit is None or part is not None else dataset.take(limit)
    count = int(dataset.cardinality())

    def select(features):
        return _select(tf, features, paths, size, channels, builder.info.features)

    return dataset, select, count


def _passes(tf, dataset, count, buffer, seed, batch_size, from_step):
    """(example, draw) of one pass; or, from a step on, of all passes: see `order`."""
    first, skipped, length = None, 0, count
    if from_step is not None:
        batch_size = min(batch_size, count)
        first, steps = divmod(from_step, count // batch_size)
        skipped, length = steps * batch_size, count // batch_size * batch_size

    def draws(number):
        return order_of_pass(count, buffer is not None, seed, number)[:, 1]

    def one(number):
        values = tf.ensure_shape(tf.numpy_function(draws, [number], tf.int64), (count,))
        examples = dataset
        if buffer is not None:
            # Traced in a graph of its own: without the global seed, which processes may not share.
            tf.compat.v1.get_default_graph().seed = None
            examples = dataset.shuffle(buffer, seed + number, reshuffle_each_iteration=False)
        pairs = tf.data.Dataset.zip(examples, tf.data.Dataset.from_tensor_slices(values))
        start = tf.where(number == (-1 if first is None else first), skipped, 0)
        return pairs.take(length).skip(tf.cast(start, tf.int64))

    passes = pass_numbers(buffer is not None, seed, first).flat_map(one)
    return own_examples(passes, count, batch_size, endless=first is not None)


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


def _undecoded(feature):
    """The decoder that leaves a picture file as it is, or None for other features."""
    import tensorflow_datasets

    is_picture = isinstance(feature, tensorflow_datasets.features.Image)
    return tensorflow_datasets.decode.SkipDecoding() if is_picture else None


def _select(tf, features, paths, size, channels, kinds):
    def take(path):
        value = features
        for key in path:
            value = value[key]
        return kinds[path[0]].decode_example(value) if _is_file(tf, path, value) else value

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


def _is_file(tf, path, value):
    return len(path) == 1 and path[0] not in _NAMES["captions"] and value.dtype == tf.string


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

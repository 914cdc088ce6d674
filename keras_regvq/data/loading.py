"""`load`: one way to name scenes, folders, TensorFlow Datasets and shards."""

import numpy as np

from keras_regvq.checks.arguments import check_choice, check_integer, check_size, refuse
from keras_regvq.data.pipeline import FIELDS, batch_dataset, drops_remainder, example_dataset
from keras_regvq.data.procedural.scenes import SCENE_CLASSES, SceneExamples
from keras_regvq.data.sources.ade20k import Ade20kExamples
from keras_regvq.data.sources.arrays import open_npz
from keras_regvq.data.sources.celebamask_hq import CelebAMaskHQExamples
from keras_regvq.data.sources.cub import CubExamples
from keras_regvq.data.sources.emoji import EmojiExamples
from keras_regvq.data.sources.folders import FolderExamples
from keras_regvq.data.sources.parquet_files import parquet_samples
from keras_regvq.data.sources.samples import SampleStream, files_of
from keras_regvq.data.sources.tfds import open_tfds
from keras_regvq.data.sources.token_shards import TokenStream
from keras_regvq.data.sources.webdataset import webdataset_samples
from keras_regvq.data.streams import stream_dataset

_FOLDERS = {
    kind.kind: kind
    for kind in (FolderExamples, Ade20kExamples, CelebAMaskHQExamples, CubExamples, EmojiExamples)
}
_SOURCES = ", ".join(['"scenes"', *(f'"{kind}:DIR"' for kind in _FOLDERS)])
_SOURCES += ', "tfds:NAME", "npz:FILE", "webdataset:GLOB", "parquet:GLOB" or "tokens:DIR"'
_SAMPLES = {"webdataset": webdataset_samples, "parquet": parquet_samples}
STREAMED = (*_SAMPLES, "tokens")
"""Sources that are read from start to end."""
_OPTIONS = {
    "scenes": ("first_seed",),
    **{kind: ("min_size", "verify", "label_palette", "max_pixels") for kind in _FOLDERS},
    "tfds": ("data_dir", "download", "splits"),
    **dict.fromkeys(("npz", "tokens"), ()),
    **{kind: ("max_pixels",) for kind in _SAMPLES},
}


def load(
    source,
    split="train",
    image_size=64,
    batch_size=32,
    fields=("images",),
    shuffle=None,
    seed=0,
    drop_remainder=None,
    num_examples=None,
    cache=None,
    flip=False,
    channels=3,
    from_step=None,
    **options,
):
    """Opens a data set as a `tf.data.Dataset` of dicts, for `fit` on every backend.

    Args:
        source: "scenes": procedural pictures (see `scene`). "folder:DIR": picture files (see
            `folders.FolderExamples` for the layout). "ade20k:DIR": ADEChallengeData2016 (see
            `ade20k.Ade20kExamples`). "celebamask_hq:DIR": CelebAMask-HQ (see
            `celebamask_hq.CelebAMaskHQExamples`). "cub:DIR": CUB-200-2011 with captions (see
            `cub.CubExamples`). "emoji:DIR": the emoji pictures of an npm package (see
            `emoji.EmojiExamples`). "tfds:NAME": TensorFlow Datasets (see `tfds.open_tfds`).
            "npz:FILE": arrays (see `arrays.open_npz`). "webdataset:GLOB" and "parquet:GLOB": shards
            of pictures (see `webdataset.webdataset_samples`, `parquet_files.parquet_samples`).
            "tokens:DIR": what `python -m keras_regvq tokenize` has written, "tokens", int32 (B, h,
            w), in place of "images". Of these three the number of batches is not known. Processes
            that train together read a part of each batch, of shards whole ones: give `from_step`.
        split: "train", "test", or "all": every example of the source in a fixed order.
        image_size: Side in pixels, or (height, width). Pictures are scaled, anti-aliased, until
            they just cover it, and cropped to the centre; label maps likewise, by the nearest
            label. Scenes are squeezed.
        batch_size: Examples per batch of all processes, or None for single examples.
        fields: Which of "images" (uint8 (B, H, W, channels)), "labels" (int32 (B, H, W)) and
            "captions" (strings (B,)) the dicts hold. Of several captions each pass draws one.
        shuffle: Whether each pass has another order; None: for split "train" only.
        seed: Integer >= 0; the same seed gives the same passes.
        drop_remainder: Whether a smaller last batch is left out; None: for split "train" only (if
            there is another batch).
        num_examples: At most so many examples. For scenes: exactly so many, 2000 for training and
            500 for testing if None.
        cache: Whether what was read stays in memory; None: if that takes less than 1 GiB.
        flip: Whether half of the examples, drawn anew in each shuffled pass by the seed, are
            mirrored left to right, label maps too. For training; captions stay as they are, so not
            for those that say left or right.
        channels: 3 for RGB, where what is transparent becomes white; 1 for the luminance; 4 for
            RGBA.
        from_step: None: one pass. Else batches without end, for `fit(steps_per_epoch=...)`, from
            the batch of that number on: 0, or the steps that a run has done which now goes on. A
            pass leaves out its smaller last batch; of fewer examples each batch holds all.
        **options: for scenes `first_seed=0`; for all sources with DIR `min_size`
            (images with a shorter side are skipped; default a quarter of `image_size`),
            `verify=False` (True decodes every image once beforehand), `label_palette=None` (the
            colour of each label, for label maps in colour: (K, 3) integers, "scenes", or a file;
            see `label_maps.read_palette`) and `max_pixels` (larger pictures are skipped); for TFDS
            `data_dir=None`, `download=True` and `splits=None` (TFDS split names by split).

    Returns:
        A `tf.data.Dataset` of known cardinality.

    Raises:
        ValueError: for an argument that does not fit, or data that cannot be used.
        ImportError: for "tfds:" without tensorflow-datasets.

    Example:
        ```python
        train = keras_regvq.data.load(
            "scenes", batch_size=8, num_examples=16, fields=("images", "labels")
        )
        batch = next(iter(train))
        batch["images"].shape  # (8, 64, 64, 3)
        ```

        ```python norun
        rooms = keras_regvq.data.load("ade20k:ADEChallengeData2016", fields=("images", "labels"))
        photos = keras_regvq.data.load("folder:photos", split="test", image_size=256, batch_size=8)
        ```
    """
    kind, location = parse_source(source)
    check_choice("split", split, ("train", "test", "all"))
    image_size = check_size("image_size", image_size, 16 if kind == "scenes" else 1)
    check_flip_and_channels(flip, channels)
    options["channels"] = channels
    if batch_size is not None:
        check_integer("batch_size", batch_size, 1)
    if num_examples is not None:
        check_integer("num_examples", num_examples, 1)
    seed, fields = check_integer("seed", seed, 0), check_fields(fields)
    for name in options:
        if name != "channels" and name not in _OPTIONS[kind]:
            allowed = ", ".join(_OPTIONS[kind]) or "no further argument"
            refuse(name, repr(options[name]), f"for source {source!r}: {allowed}")
    shuffle = split == "train" if shuffle is None else shuffle
    if from_step is not None:
        check_integer("from_step", from_step, 0)
        if batch_size is None or drop_remainder is False:
            received = f"{from_step} with batch_size={batch_size}, drop_remainder={drop_remainder}"
            refuse("from_step", received, "a batch_size, and no smaller last batch")
    if kind in STREAMED:
        if flip and kind == "tokens":
            refuse("flip", flip, "False for tokens: those of a mirrored picture are others")
        stream = open_stream(kind, location, split, image_size, **options)
        endless = from_step is not None
        dataset = stream_dataset(stream, fields, shuffle, seed, flip, num_examples, endless)
        if batch_size is not None and not endless:
            count = min((n for n in (stream.count, num_examples) if n is not None), default=None)
            drop_remainder = drops_remainder(drop_remainder, count, batch_size, split == "train")
        dataset = batch_dataset(dataset, None, batch_size, drop_remainder or endless, False)
        return dataset.skip(from_step) if from_step else dataset
    if kind == "tfds":
        dataset, count = open_tfds(
            *(location, split, image_size, fields, shuffle, seed, num_examples, cache),
            flip=flip,
            batch_size=batch_size,
            from_step=from_step,
            **options,
        )
    else:
        examples = open_examples(kind, location, split, image_size, fields, num_examples, **options)
        count = len(examples)
        dataset = example_dataset(
            examples, fields, shuffle, seed, cache, flip, batch_size, from_step
        )
    if from_step is not None:
        batch_size, drop_remainder = min(batch_size, count), True
    return batch_dataset(dataset, count, batch_size, drop_remainder, split == "train")


def open_examples(kind, location, split, image_size, fields, num_examples, channels=3, **options):
    """The examples of a source, but tfds:, read by number: see `pipeline.example_dataset`."""
    if kind == "scenes":
        return SceneExamples(split, image_size, num_examples, channels=channels, **options)
    if kind in _FOLDERS:
        return _FOLDERS[kind](
            location, split, image_size, fields, num_examples, channels=channels, **options
        )
    return open_npz(location, split, image_size, fields, num_examples, channels)


def open_stream(kind, location, split, image_size, channels=3, **options):
    """What is read from shards: see `streams.stream_dataset`."""
    if kind == "tokens":
        return TokenStream(location, split)
    shards = files_of(kind, location)
    return SampleStream(shards, _SAMPLES[kind], split, image_size, channels, **options)


def label_classes(source):
    """How many classes the label maps of a source have, or None where only its user knows.

    16 for "scenes", 151 for "ade20k:DIR", 19 for "celebamask_hq:DIR". Their names, in order, are
    `SCENE_CLASSES`, `ADE20K_CLASSES` and `CELEBAMASK_HQ_CLASSES`.

    Raises:
        ValueError: for what `load` does not know as a source.

    Example:
        ```python
        num_classes = keras_regvq.data.label_classes("scenes")  # 16
        condition = keras_regvq.models.LabelMapCondition(num_classes, image_size=64)
        ```
    """
    kind, _ = parse_source(source)
    if kind == "scenes":
        return len(SCENE_CLASSES)
    return _FOLDERS[kind].classes if kind in _FOLDERS else None


def check_fields(fields):
    """Returns `fields`, a name or several, as a tuple of different names."""
    names = tuple(fields) if isinstance(fields, (list, tuple)) else (fields,)
    if not names or len(set(names)) < len(names) or any(name not in FIELDS for name in names):
        refuse("fields", repr(fields), f"some of {', '.join(map(repr, FIELDS))}, each once")
    return names


def check_flip_and_channels(flip, channels):
    """Refuses what is no bool, and another number of channels than 1, 3 or 4."""
    if not isinstance(flip, (bool, np.bool_)):
        refuse("flip", repr(flip), "True or False")
    if isinstance(channels, bool) or channels not in (1, 3, 4):
        refuse("channels", repr(channels), "3 for RGB, 1 for the luminance, or 4 for RGBA")


def parse_source(source):
    """The kind of a source and where it is: ("folder", "photos") of "folder:photos"."""
    kind, _, location = source.partition(":") if isinstance(source, str) else ("", "", "")
    if kind not in _OPTIONS or bool(location) == (kind == "scenes"):
        refuse("source", repr(source), _SOURCES)
    return kind, location

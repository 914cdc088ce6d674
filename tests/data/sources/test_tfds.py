"""TensorFlow Datasets that the tests prepare themselves: no network."""

import pickle
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_regvq.data import load
from keras_regvq.data.every_caption import every_caption
from keras_regvq.data.sources import tfds_splits
from keras_regvq.tokenizing.parts import open_parts

tfds = pytest.importorskip("tensorflow_datasets")

TEXTS = (["one"], ["two", "zwei"], [])


def picture(i):
    """White on the left and grey on the right, wider than high, and the map of its halves."""
    image = np.full((12, 24, 3), 255, np.uint8)
    image[:, 12:] = 10 * i
    labels = np.zeros((12, 24, 1), np.uint8)
    labels[:, 12:] = 100 + i
    return image, labels


class RegvqPictures(tfds.core.GeneratorBasedBuilder):
    """Pictures with label maps and nested captions in the splits train and validation."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
                "captions": tfds.features.Sequence({"id": np.int64, "text": tfds.features.Text()}),
            }
        )
        return self.dataset_info_from_configs(features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 6), "validation": self._generate_examples(6, 9)}

    def _generate_examples(self, first, end):
        for i in range(first, end):
            image, labels = picture(i)
            texts = [{"id": k, "text": text} for k, text in enumerate(TEXTS[i % 3])]
            yield i, {"image": image, "segmentation_mask": labels, "captions": texts}


class RegvqDigits(tfds.core.GeneratorBasedBuilder):
    """Grey pictures with a class, as MNIST has them, in the split train alone."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(8, 8, 1)),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
        )
        return self.dataset_info_from_configs(features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(20):
            yield i, {"image": np.full((8, 8, 1), i, np.uint8), "label": i % 10}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tfds")
    for builder in (RegvqPictures, RegvqDigits):
        builder(data_dir=directory).download_and_prepare()
    return str(directory)


def test_images_label_maps_and_nested_captions_are_found(data_dir):
    fields = ("images", "labels", "captions")
    dataset = load("tfds:regvq_pictures", "test", 8, 2, fields, data_dir=data_dir, download=False)
    batches = list(dataset.as_numpy_iterator())
    assert len(dataset) == 2 and [len(b["images"]) for b in batches] == [2, 1]
    images, labels, captions = (np.concatenate([b[name] for b in batches]) for name in fields)
    assert images.dtype == np.uint8 and labels.dtype == np.int32 and images.shape == (3, 8, 8, 3)
    for image, label, caption in zip(images, labels, captions, strict=True):
        number = int(label[0, -1]) - 100
        assert number in (6, 7, 8)
        assert (label[:, :4] == 0).all() and (label[:, 4:] == 100 + number).all()
        assert (image[:, :2] >= 253).all() and np.abs(
            image[:, 6:].astype(int) - 10 * number
        ).max() < 3
        assert caption.decode() in (TEXTS[number % 3] or [""])


def test_every_caption_is_listed(data_dir, monkeypatch):
    monkeypatch.setattr(
        "keras_regvq.data.sources.tfds.open_builder",
        lambda name, *_: tfds.builder(name, data_dir=data_dir),
    )
    found = every_caption("tfds:regvq_pictures")
    assert sorted(found) == sorted(["one", "two", "zwei"] * 2)


@pytest.mark.parametrize("split, count", [("train", 18), ("all", 20), ("test", 2)])
def test_they_are_tokenized_in_ranges(data_dir, monkeypatch, split, count):
    monkeypatch.setattr(
        "keras_regvq.data.sources.tfds.open_builder",
        lambda name, *_: tfds.builder(name, data_dir=data_dir),
    )
    options = {"num_examples": None, "examples_per_shard": 7}
    parts = open_parts("tfds:regvq_digits", split, 8, ("images",), 3, **options)
    found = [[(name, read()) for name, read in parts.read(n)] for n in range(len(parts))]
    assert [len(part) for part in found] == [7] * (count // 7) + [count % 7] * (count % 7 > 0)
    names, examples = zip(*(one for part in found for one in part), strict=True)
    assert len(set(names)) == count and pickle.loads(pickle.dumps(parts)).size == (8, 8)
    whole = load("tfds:regvq_digits", split, 8, None, "images", False, data_dir=data_dir)
    for example, expected in zip(examples, whole.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(example["images"], expected["images"])


def test_several_splits_are_one_after_the_other(data_dir, monkeypatch):
    builder = tfds.builder("regvq_pictures", data_dir=data_dir)

    def read(split):
        data = builder.as_dataset(split=split, shuffle_files=False)
        return [example["image"].numpy().tobytes() for example in data]

    whole = read("train+validation")
    for start, stop in ((0, 4), (4, 8), (8, 9)):
        part = tfds_splits.range_of_split(builder, "train+validation", range(start, stop))
        assert read(part) == whole[start:stop]


def test_training_passes_shuffle_and_draw_among_captions(data_dir):
    dataset = load(
        "tfds:regvq_pictures", "train", 8, None, ("labels", "captions"), seed=2, data_dir=data_dir
    )
    assert len(dataset) == 6
    passes = [[(int(e["labels"][0, -1]), e["captions"]) for e in dataset] for _ in range(8)]
    orders = [[number for number, _ in one] for one in passes]
    assert all(sorted(order) == [100, 101, 102, 103, 104, 105] for order in orders)
    assert len(set(map(tuple, orders))) > 1
    drawn = {bytes(text.numpy()) for one in passes for _, text in one}
    assert drawn == {b"one", b"two", b"zwei", b""}


def test_grey_images_become_rgb_and_train_alone_is_split(data_dir):
    options = {"image_size": 8, "batch_size": None, "data_dir": data_dir, "download": False}
    train, test = (load("tfds:regvq_digits", split, **options) for split in ("train", "test"))
    assert len(train) == 18 and len(test) == 2
    values = [{int(e["images"][0, 0, 0]) for e in d.as_numpy_iterator()} for d in (train, test)]
    assert values[0] | values[1] == set(range(20)) and not values[0] & values[1]
    assert next(iter(train))["images"].shape == (8, 8, 3)
    assert len(load("tfds:regvq_digits", "train", num_examples=3, **options)) == 3
    chosen = load("tfds:regvq_digits", "test", splits={"test": "train[:50%]"}, **options)
    assert len(chosen) == 10


def test_all_is_every_split_and_sizes_and_channels_are_options(data_dir):
    options = {"fields": ("images", "labels"), "data_dir": data_dir, "download": False}
    dataset = load("tfds:regvq_pictures", "all", (8, 4), None, channels=1, **options)
    examples = list(dataset.as_numpy_iterator())
    assert sorted(int(e["labels"][0, -1]) for e in examples) == list(range(100, 109))
    assert {e["images"].shape for e in examples} == {(8, 4, 1)}
    assert {e["labels"].shape for e in examples} == {(8, 4)}


def test_half_of_the_examples_are_flipped(data_dir):
    options = {"fields": ("images", "labels"), "data_dir": data_dir, "download": False}
    dataset = load("tfds:regvq_pictures", "all", 8, None, shuffle=True, flip=True, **options)
    passes = [list(dataset.as_numpy_iterator()) for _ in range(4)]
    flipped = [bool(e["labels"][0, 0]) for one in passes for e in one]
    assert 6 < sum(flipped) < 30
    for example in passes[0]:  # white goes with label 0
        white = example["images"][0, :, 0] > 250
        assert white[0] == (example["labels"][0, 0] == 0) and white[0] != white[-1]


@pytest.mark.parametrize("kind", [ConnectionError, tfds.core.download.util.DownloadError])
def test_data_that_cannot_be_fetched_is_named_with_what_to_do(data_dir, monkeypatch, kind):
    def fail(self):
        raise kind("no route to host")

    monkeypatch.setattr(RegvqDigits, "download_and_prepare", fail)
    with pytest.raises(ValueError, match="`source`.*regvq_digits.*no route.*download=False"):
        load("tfds:regvq_digits", data_dir=data_dir)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("tfds:no_such_dataset_anywhere", {}, "`source`.*no_such_dataset_anywhere"),
        ("tfds:regvq_digits", {"fields": ("labels",)}, "`fields`.*'labels'.*label"),
        ("tfds:regvq_digits", {"fields": ("captions",)}, "`fields`.*'captions'.*text feature"),
        ("tfds:regvq_digits", {"splits": {"train": "nope"}}, "`splits`.*nope"),
        ("tfds:regvq_digits", {"splits": "train"}, "`splits`"),
        ("tfds:regvq_digits", {"verify": True}, "`verify`"),
    ],
)
def test_what_does_not_fit_is_an_error(data_dir, source, options, message):
    with pytest.raises(ValueError, match=message):
        load(source, data_dir=data_dir, download=False, **options)


def test_data_that_is_not_there_is_an_error_without_download(tmp_path):
    with pytest.raises(ValueError, match="`source`.*not prepared.*download=True"):
        load("tfds:regvq_digits", data_dir=str(tmp_path), download=False)


def test_a_missing_tensorflow_datasets_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"keras_regvq\[tfds\]"):
        load("tfds:regvq_digits")


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("step", [1, 4, 6])
def test_batches_from_a_step_on_are_those_of_a_run_that_did_not_stop(data_dir, step, cache):
    options = {"image_size": 8, "batch_size": 2, "fields": ("labels", "captions"), "seed": 1}
    options |= {"data_dir": data_dir, "download": False, "cache": cache}

    def batches(first, count):
        dataset = load("tfds:regvq_pictures", from_step=first, **options)
        read = dataset.take(count).as_numpy_iterator()
        return [(b["labels"][:, 0, -1].tolist(), b["captions"].tolist()) for b in read]

    tf.random.set_seed(1)
    whole = batches(0, 9)
    tf.random.set_seed(2)  # which a run that goes on, or another process, may have
    assert batches(step, 9 - step) == whole[step:]
    passes = [sum((labels for labels, _ in whole[i : i + 3]), []) for i in (0, 3, 6)]
    assert all(sorted(one) == [100, 101, 102, 103, 104, 105] for one in passes)
    assert passes[0] != passes[1] or passes[1] != passes[2]

"""Every batch is checked, in every model and whatever the data come from, before it is used."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from keras_regvq.models import (
    AutoregressivePrior,
    ClassCondition,
    DiffusionPrior,
    ImageTokenizer,
    LabelMapCondition,
    LabelMapTokenizer,
    SemanticToImage,
    TextToImage,
    VocabularyEncoder,
)
from keras_regvq.quantizers import VectorQuantizer
from keras_regvq.training import TokenizerTrainer

pytestmark = pytest.mark.eager

CODES, CLASSES, COUNT = 12, 5, 6


def image_tokenizer():
    return ImageTokenizer(16, VectorQuantizer(CODES, 6), 8, (1, 2), 1, (), 8)


def trainer():
    return TokenizerTrainer(image_tokenizer())


def label_map_tokenizer():
    return LabelMapTokenizer(CLASSES, 16, VectorQuantizer(CODES, 6), 8, (1, 2), 1, 8)


def autoregressive_prior():
    return AutoregressivePrior(CODES, 2, 1, 1, 8, ClassCondition(CLASSES))


def diffusion_prior():
    return DiffusionPrior(CODES, 2, "discrete", 8, (1,), 1, (), 1)


def semantic_to_image():
    condition = LabelMapCondition(CLASSES, 16)
    return SemanticToImage(image_tokenizer(), AutoregressivePrior(CODES, 8, 1, 1, 8, condition))


def text_to_image():
    encoder = VocabularyEncoder.from_captions(["a red boat"])
    condition = encoder.condition(num_layers=1, num_heads=1)
    prior = DiffusionPrior(CODES, 8, "discrete", 8, (1,), 1, (), 1, condition=condition)
    return TextToImage(image_tokenizer(), prior, encoder)


IMAGES = np.random.default_rng(0).random((COUNT, 16, 16, 3), "float32")
LABELS = np.random.default_rng(0).integers(0, CLASSES, (COUNT, 16, 16)).astype("int32")
TOKENS = np.zeros((COUNT, 2, 2), "int32")
GOOD = {
    trainer: IMAGES,
    label_map_tokenizer: LABELS,
    autoregressive_prior: {"tokens": TOKENS, "condition": np.arange(COUNT) % CLASSES},
    diffusion_prior: {"tokens": TOKENS},
    semantic_to_image: {"images": IMAGES, "labels": LABELS},
    text_to_image: {"images": IMAGES, "captions": np.array(["a red boat"] * COUNT)},
}


def late(array, value):
    """The array with a wrong value in its last example."""
    array = array.copy()
    array[-1, ..., -1] = value
    return array


WRONG = {
    "pixels of 255": (trainer, late(IMAGES, 255.0), "images", "to 255"),
    "NaN pixels": (trainer, late(IMAGES, np.nan), "images", "NaN"),
    "label 200": (label_map_tokenizer, late(LABELS, 200), "labels", "to 200"),
    "label -1": (label_map_tokenizer, late(LABELS, -1), "labels", "from -1"),
    "void label 255": (
        semantic_to_image,
        {"images": IMAGES, "labels": late(LABELS, 255)},
        "labels",
        "to 255",
    ),
    "pixels of -1": (
        semantic_to_image,
        {"images": late(IMAGES, -1.0), "labels": LABELS},
        "images",
        "from -1",
    ),
    "class 77": (
        autoregressive_prior,
        {"tokens": TOKENS, "condition": np.array([0, 1, 2, 3, 4, 77])},
        "condition",
        "to 77",
    ),
    "token 99": (diffusion_prior, {"tokens": late(TOKENS, 99)}, "tokens", "to 99"),
    "token -1": (
        autoregressive_prior,
        {"tokens": late(TOKENS, -1), "condition": np.arange(COUNT) % CLASSES},
        "tokens",
        "from -1",
    ),
    "NaN pixels beside captions": (
        text_to_image,
        {**GOOD[text_to_image], "images": late(IMAGES, np.nan)},
        "images",
        "NaN",
    ),
}


def batches(data, size=2):
    for start in range(0, COUNT, size):
        yield keras.tree.map_structure(lambda array, s=start: array[s : s + size], data)


class Sequence(keras.utils.PyDataset):
    def __init__(self, data):
        super().__init__()
        self.batches = list(batches(data))

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


class Examples(torch.utils.data.Dataset):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        example = keras.tree.map_structure(lambda array: array[index], self.data)
        as_tensor = lambda v: str(v) if isinstance(v, np.str_) else torch.as_tensor(v)  # noqa: E731
        return keras.tree.map_structure(as_tensor, example)


KINDS = {
    "arrays": lambda data: data,
    "tf.data": lambda data: tf.data.Dataset.from_tensor_slices(data).batch(2),
    "PyDataset": Sequence,
    "DataLoader": lambda data: torch.utils.data.DataLoader(Examples(data), batch_size=2),
    "generator": batches,
}


@pytest.fixture(scope="module")
def models():
    """One compiled model of each kind, made when it is first asked for."""
    made = {}

    def get(make):
        if make not in made:
            made[make] = make()
            made[make].compile(optimizer=keras.optimizers.SGD(0.0))
        return made[make]

    return get


# The check of a batch does not depend on what it came from, nor that on the model: each of both
# with a few of the other.
STREAMS = ("tf.data", "DataLoader", "PyDataset", "generator")
GOOD_PAIRS = [(make, kind) for make in (trainer, text_to_image) for kind in KINDS]
GOOD_PAIRS += [(make, "DataLoader") for make in (label_map_tokenizer, autoregressive_prior)]
WRONG_PAIRS = [
    (wrong, kind) for n, wrong in enumerate(WRONG) for kind in ("arrays", STREAMS[n % 4])
]


@pytest.mark.one_backend
@pytest.mark.parametrize("make, kind", GOOD_PAIRS)
def test_all_kinds_of_data_are_trained_on_and_evaluated(make, kind, models):
    model, steps = models(make), {"steps_per_epoch": 3} if kind == "generator" else {}
    history = model.fit(KINDS[kind](GOOD[make]), batch_size=2, verbose=0, **steps).history
    assert np.isfinite(history["loss"]).all()
    result = model.evaluate(KINDS[kind](GOOD[make]), batch_size=2, verbose=0, return_dict=True)
    assert np.isfinite(result["loss"])
    if make in (trainer, label_map_tokenizer):  # nothing is drawn
        assert result["loss"] == pytest.approx(history["loss"][0], rel=1e-5)


@pytest.mark.parametrize("wrong, kind", WRONG_PAIRS)
def test_what_is_wrong_late_is_refused_by_its_name_value_and_range(wrong, kind, models):
    make, data, argument, value = WRONG[wrong]
    model = models(make)
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables]
    for use in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=f"Received: .*{value}.*Expected: ") as error:
            use(KINDS[kind](data), batch_size=2, verbose=0)
        bare = "x" if kind == "arrays" and not isinstance(data, dict) else argument
        assert f"`{bare}`" in str(error.value)
    for old, new in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(new), old)


@pytest.mark.parametrize("kind", ["tf.data", "DataLoader"])
def test_validation_data_are_checked_batch_by_batch(kind, models):
    model = models(label_map_tokenizer)
    wrong = KINDS[kind](late(LABELS, 200))
    with pytest.raises(ValueError, match="`labels` of `validation_data`.*to 200"):
        model.fit(LABELS, validation_data=wrong, verbose=0)
    good = model.fit(LABELS, validation_data=KINDS[kind](LABELS), epochs=2, verbose=0).history
    assert good["val_loss"][0] == pytest.approx(good["loss"][0], rel=1e-5)


@pytest.mark.parametrize("kind", ["DataLoader", "PyDataset", "tf.data"])
def test_images_beside_class_labels_train_a_tokenizer(kind, models):
    """As torchvision's ImageFolder gives them."""
    model = models(trainer)
    expected = model.fit(IMAGES, batch_size=2, verbose=0).history["loss"]
    data = KINDS[kind]((IMAGES, np.arange(COUNT)))
    assert model.fit(data, verbose=0).history["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_loader_of_a_stream_is_read_anew_each_epoch(models):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(torch.from_numpy(IMAGES))

    loader = torch.utils.data.DataLoader(Stream(), batch_size=2)
    history = models(trainer).fit(loader, epochs=2, verbose=0).history
    assert history["psnr"][1] == pytest.approx(history["psnr"][0])


class InProcesses(Sequence):
    """Notes which processes make its batches."""

    def __init__(self, data, notes, workers):
        super().__init__(data)
        self.workers, self.use_multiprocessing, self.notes = workers, True, notes

    def __getitem__(self, index):
        (self.notes / str(os.getpid())).touch()
        return super().__getitem__(index)


@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_make_batches_that_this_process_checks(
    workers, models, tmp_path, monkeypatch
):
    model, checked = models(label_map_tokenizer), []
    original = model.check_inputs
    note = lambda *given: (checked.append(os.getpid()), original(*given))  # noqa: E731
    monkeypatch.setattr(model, "check_inputs", note, raising=False)
    result = model.evaluate(InProcesses(LABELS, tmp_path, workers), verbose=0, return_dict=True)
    expected = model.evaluate(LABELS, batch_size=2, verbose=0, return_dict=True)
    assert result["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    made = {int(path.name) for path in tmp_path.iterdir()}
    assert made and os.getpid() not in made
    assert set(checked) == {os.getpid()} and len(checked) >= 3
    with pytest.raises(ValueError, match="`labels` of `x`.*to 200"):
        model.evaluate(InProcesses(late(LABELS, 200), tmp_path, workers), verbose=0)


@pytest.mark.parametrize(
    "data", [list(IMAGES), list(batches(IMAGES)), (IMAGES, LABELS), "images/", 5, {1, 2}]
)
def test_other_kinds_of_data_are_refused(data, models):
    with pytest.raises(ValueError, match=r"`x`.*Received: .*DataLoader or generator"):
        models(trainer).fit(data, verbose=0)


def test_other_sizes_and_grids_are_refused(models):
    small = {"images": IMAGES[:, :8, :8], "labels": LABELS}
    with pytest.raises(ValueError, match=r"`images`.*\(8, 8\).*\(16, 16\)"):
        models(semantic_to_image).fit(KINDS["PyDataset"](small), verbose=0)
    tokens = {"tokens": np.zeros((COUNT, 4, 4), "int32"), "labels": LABELS}
    with pytest.raises(ValueError, match=r"`tokens`.*\(4, 4\).*\(8, 8\)"):
        models(semantic_to_image).fit(tokens, verbose=0)
    with pytest.raises(ValueError, match=r"`x`.*\(8, 8\).*\(16, 16\)"):
        models(label_map_tokenizer).fit(LABELS[:, :8, :8], verbose=0)


def test_a_dataset_of_dicts_trains_a_label_map_tokenizer(models):
    model = models(label_map_tokenizer)
    expected = model.fit(LABELS, batch_size=2, verbose=0).history["loss"]
    dataset = KINDS["tf.data"]({"labels": LABELS})
    assert model.fit(dataset, verbose=0).history["loss"] == pytest.approx(expected, rel=1e-5)


def test_on_batch_methods_check_too(models):
    model = models(autoregressive_prior)
    wrong = WRONG["class 77"][1]
    for use in (model.train_on_batch, model.test_on_batch, model.predict_on_batch, model.predict):
        with pytest.raises(ValueError, match="`condition`.*to 77"):
            use(wrong)
    assert np.isfinite(model.train_on_batch(GOOD[autoregressive_prior], return_dict=True)["loss"])


@pytest.mark.one_backend
@pytest.mark.parametrize("kind", ["arrays", "tf.data"])
def test_a_gaussian_prior_needs_its_codebook_and_then_trains(kind):
    sizes = (8, (1,), 1, (), 1)
    prior = DiffusionPrior(CODES, 2, "gaussian", *sizes, embedding_dim=4)
    prior.compile()
    with pytest.raises(ValueError, match="set_codebook"):
        prior.fit(KINDS[kind]({"tokens": TOKENS}), verbose=0)
    prior.set_codebook(np.random.default_rng(0).normal(size=(CODES, 4)))
    history = prior.fit(KINDS[kind]({"tokens": TOKENS}), epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()

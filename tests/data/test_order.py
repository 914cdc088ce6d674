"""Batches from a step on are those of a run that did not stop."""

import numpy as np
import pytest
import tensorflow as tf

from keras_regvq.data import load
from keras_regvq.data.order import array_batches, order_of_pass

COUNT, BATCH = 10, 4


@pytest.fixture
def source(tmp_path):
    images = np.repeat(np.arange(COUNT + 2, dtype="uint8"), 48).reshape(-1, 4, 4, 3)
    captions = np.array([[f"{i} {k}" for k in range(5)] for i in range(len(images))])
    split = np.array(["train"] * COUNT + ["test"] * 2)
    np.savez(tmp_path / "data.npz", images=images, captions=captions, split=split)
    return f"npz:{tmp_path / 'data.npz'}"


def first_batches(dataset, count):
    return [
        {name: values.tolist() for name, values in batch.items()}
        for batch in dataset.take(count).as_numpy_iterator()
    ]


@pytest.mark.parametrize("step", [0, 1, 2, 3, 5, 8])
def test_a_dataset_starts_at_any_step_as_if_it_had_read_what_comes_before(source, step):
    options = {"image_size": 4, "batch_size": BATCH, "fields": ("images", "captions"), "seed": 3}
    whole = first_batches(load(source, from_step=0, **options), 12)
    assert first_batches(load(source, from_step=step, **options), 12 - step) == whole[step:]


def test_passes_hold_every_example_once_and_differ(source):
    dataset = load(source, image_size=4, batch_size=5, fields=("images", "captions"), from_step=0)
    batches = first_batches(dataset, 8)
    numbers = np.array([np.array(b["images"])[:, 0, 0, 0] for b in batches]).reshape(4, COUNT)
    assert (np.sort(numbers) == np.arange(COUNT)).all()
    assert len({tuple(one) for one in numbers}) == 4
    captions = {text for batch in batches for text in batch["captions"]}
    assert len(captions) > 2 * COUNT, "each pass draws captions anew"


def test_tensorflows_own_seed_changes_no_order(source):
    def two_passes(seed):
        tf.random.set_seed(seed)
        dataset = load(source, image_size=4, batch_size=5, fields=("images", "captions"), seed=1)
        return [first_batches(dataset, 2) for _ in range(2)]

    first = two_passes(1)
    assert two_passes(2) == first and first[0] != first[1]


def test_draws_are_of_32_bits_each_set_in_half_of_them():
    draws = order_of_pass(4000, True, 5, 2)[:, 1]
    bits = (draws[:, None] >> np.arange(33)) & 1
    assert np.abs(bits.mean(0)[:32] - 0.5).max() < 0.05 and not bits[:, 32].any()


def test_what_is_before_the_first_step_is_not_read(source, monkeypatch):
    from keras_regvq.data.sources import arrays

    read, original = [], arrays.ArrayExamples.read

    def counting(self, index, fields):
        read.append(index)
        return original(self, index, fields)

    monkeypatch.setattr(arrays.ArrayExamples, "read", counting)
    dataset = load(source, image_size=4, batch_size=2, from_step=3)
    (batch,) = dataset.take(1).as_numpy_iterator()
    expected = order_of_pass(COUNT, True, 0, 0)[6:8, 0]
    assert batch["images"][:, 0, 0, 0].tolist() == expected.tolist() == read[:2]


def test_batches_without_end_have_one_size_and_fewer_examples_make_one_batch(source):
    dataset = load(source, image_size=4, batch_size=32, from_step=7)
    assert [len(batch["images"]) for batch in dataset.take(3)] == [COUNT] * 3
    assert dataset.cardinality() == -1
    for options in ({"batch_size": None}, {"drop_remainder": False}):
        with pytest.raises(ValueError, match="`from_step`"):
            load(source, image_size=4, from_step=0, **options)
    with pytest.raises(ValueError, match="`from_step`"):
        load(source, image_size=4, from_step=-1)


@pytest.mark.parametrize("step", [1, 2, 7])
def test_arrays_start_at_any_step_too(step):
    arrays = {"tokens": np.arange(COUNT, dtype="uint8"), "labels": -np.arange(COUNT)}
    whole = first_batches(array_batches(arrays, 3, seed=1), 10)
    assert first_batches(array_batches(arrays, 3, 1, step), 10 - step) == whole[step:]
    assert all(t == -n for b in whole for t, n in zip(b["tokens"], b["labels"], strict=True))
    assert len({t for b in whole[:3] for t in b["tokens"]}) == 9

"""What each of two processes reads: side by side it is what one process reads."""

import numpy as np
import pytest

from keras_regvq.backend.parts_of_batches import is_marked_as_part
from keras_regvq.data import from_arrays, load, own_part, pipeline


def batches(dataset, count=None):
    dataset = dataset if count is None else dataset.take(count)
    return [batch["images"] for batch in dataset.as_numpy_iterator()]


@pytest.fixture
def on_two(monkeypatch):
    """Gives what `make()` yields in each of two processes."""

    def run(make):
        found = []
        for index in range(2):
            monkeypatch.setattr(own_part, "process_index_and_count", lambda i=index: (i, 2))
            found.append(make())
        monkeypatch.undo()
        return found

    return run


def check(parts, whole):
    assert [len(part) for part in parts] == [len(whole)] * 2
    for first, second, batch in zip(*parts, whole, strict=True):
        np.testing.assert_array_equal(np.concatenate([first, second]), batch)


OPTIONS = {"image_size": 16, "num_examples": 22, "batch_size": 8, "seed": 3}


def test_the_parts_of_a_pass_are_its_batches_the_smaller_last_one_too(on_two):
    def make():
        return batches(load("scenes", shuffle=True, drop_remainder=False, **OPTIONS))

    parts, whole = on_two(make), make()
    assert [len(batch) for batch in whole] == [8, 8, 6]
    check(parts, whole)


@pytest.mark.parametrize("from_step", [0, 1, 5])
def test_so_are_those_of_passes_without_end(on_two, from_step):
    def make():
        return batches(load("scenes", from_step=from_step, **OPTIONS), 5)

    check(on_two(make), make())


def test_so_are_those_of_arrays(on_two):
    images = np.random.default_rng(0).integers(0, 255, (10, 4, 4, 3), dtype="uint8")

    def make():
        dataset = from_arrays(images, batch_size=4, seed=1)
        assert int(dataset.cardinality()) == 2
        return batches(dataset)

    check(on_two(make), make())


def test_processes_read_the_same_order_whatever_their_seeds_of_tensorflow_are(monkeypatch):
    import tensorflow as tf

    found = []
    for index in range(2):
        monkeypatch.setattr(own_part, "process_index_and_count", lambda i=index: (i, 2))
        tf.random.set_seed(100 + index)
        data = load("scenes", shuffle=True, drop_remainder=False, **OPTIONS)
        found.append(np.concatenate([*batches(data), *batches(data)]))  # two passes
    seen = {picture.tobytes() for part in found for picture in part[:11]}
    assert len(seen) == 22 and len(found[0]) == len(found[1]) == 22
    assert (found[0][:11] != found[0][11:]).any()


def test_what_is_made_of_a_part_is_known_as_one(monkeypatch):
    assert not is_marked_as_part(load("scenes", **OPTIONS))
    for module in (own_part, pipeline):
        monkeypatch.setattr(module, "process_index_and_count", lambda: (1, 2))
    part = load("scenes", **OPTIONS)
    assert is_marked_as_part(part.map(lambda batch: batch["images"]).prefetch(1))


def test_batches_that_cannot_be_divided_are_refused(on_two):
    with pytest.raises(ValueError, match="`batch_size` is wrong. Received: a batch of 5 for 2"):
        on_two(lambda: load("scenes", **{**OPTIONS, "batch_size": 5}))
    rest = {"drop_remainder": False, "num_examples": 11}
    with pytest.raises(ValueError, match="Received: the last batch, of 3, for 2 processes"):
        on_two(lambda: load("scenes", **{**OPTIONS, **rest}))

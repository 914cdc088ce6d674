"""Frozen models: nothing trains them in silence, and what a preset says of it is so."""

import keras
import numpy as np
import pytest

from keras_regvq import from_preset, models
from keras_regvq.training import Backup
from tests.models.priors.tiny_prior import (
    make_image_tokenizer,
    make_label_tokenizer,
    make_map_prior,
    make_prior,
    random_images,
    random_maps,
    random_tokens,
)
from tests.training.conftest import make_trainer, weights_of

pytestmark = pytest.mark.eager
PAIRS = {"images": random_images(), "labels": random_maps()}


def trainer_of(tokenizer):
    return make_trainer(tokenizer=tokenizer, features=False)


def make_generator():
    return models.SemanticToImage(make_image_tokenizer(), make_map_prior())


CASES = {
    "tokenizer": (lambda: trainer_of(make_image_tokenizer()), random_images()),
    "model": (make_label_tokenizer, random_maps()),
    "prior": (make_generator, PAIRS),
}


@pytest.mark.parametrize("part", CASES)
def test_what_is_frozen_is_not_trained(part):
    make, data = CASES[part]
    model = make()
    frozen = model if part == "model" else getattr(model, part)
    frozen.trainable = False
    model.compile(keras.optimizers.SGD(0.1))
    with pytest.raises(ValueError, match=f"`{part}` is wrong.*frozen.*{part}.trainable = True"):
        model.fit(data, verbose=0)
    with pytest.raises(ValueError, match=f"`{part}` is wrong.*frozen"):
        model.train_on_batch(data)
    model.evaluate(data, verbose=0)


def test_a_prior_alone_is_named_model():
    prior = make_prior()
    prior.trainable = False
    prior.compile()
    with pytest.raises(ValueError, match="`model` is wrong.*frozen AutoregressivePrior"):
        prior.fit({"tokens": random_tokens()}, verbose=0)


def test_the_tokenizer_of_a_generator_is_trained_and_kept_once_it_is_a_preset(tmp_path):
    generator = make_generator()
    generator.tokenizer.save_to_preset(tmp_path / "preset")

    def run(epochs):
        trainer = trainer_of(from_preset(tmp_path / "preset"))
        assert trainer.tokenizer.trainable
        trainer.compile(keras.optimizers.SGD(0.1))
        start = weights_of(trainer.tokenizer)
        trainer.fit(random_images(), epochs=epochs, verbose=0, callbacks=[Backup(tmp_path / "b")])
        return start, weights_of(trainer.tokenizer)

    start, once = run(1)
    assert any((a != b).any() for a, b in zip(start, once, strict=True))
    _, again = run(1)  # restored
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loaded_generator_trains_its_prior_alone_and_a_frozen_prior_stays_frozen(tmp_path):
    generator = make_generator()
    generator.save_to_preset(tmp_path / "generator")
    loaded = from_preset(tmp_path / "generator")
    assert not any(weight.trainable for weight in loaded.tokenizer.weights)
    assert len(loaded.trainable_variables) == len(generator.prior.trainable_variables)
    generator.prior.trainable = False
    generator.save_to_preset(tmp_path / "frozen")
    loaded = from_preset(tmp_path / "frozen")
    assert loaded.trainable_variables == []
    loaded.compile()
    with pytest.raises(ValueError, match="`prior` is wrong.*frozen"):
        loaded.fit(PAIRS, verbose=0)


def test_a_part_with_weights_does_not_lose_them_to_a_preset(tmp_path):
    make_generator().save_to_preset(tmp_path)
    mine = make_image_tokenizer()
    before = weights_of(mine)
    with pytest.raises(ValueError, match="`tokenizer`.*with weights.*load_weights=False"):
        from_preset(tmp_path, tokenizer=mine)
    assert from_preset(tmp_path, tokenizer=mine, load_weights=False).tokenizer is mine
    for a, b in zip(before, weights_of(mine), strict=True):
        np.testing.assert_array_equal(a, b)

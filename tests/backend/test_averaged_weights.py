"""Averaged weights forget how training began."""

import keras
import numpy as np
import pytest

from keras_regvq.training import TokenizerTrainer
from tests.models.priors.tiny_prior import make_map_prior, random_maps, random_tokens
from tests.training.conftest import array_of, make_tokenizer, make_trainer

STEPS, DECAY = 6, 0.7


class Weights(keras.callbacks.Callback):
    """The values of one weight after each step."""

    def __init__(self, variable):
        super().__init__()
        self.variable, self.values = variable, []

    def on_epoch_end(self, epoch, logs=None):
        self.values.append(array_of(self.variable))


def expected_average(values, decay):
    average = np.zeros_like(values[0])
    for t, value in enumerate(values):
        momentum = min(decay, (1 + t) / (10 + t)) if t else 0.0
        average = momentum * average + (1 - momentum) * value
    return average


def optimizers():
    return [keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=DECAY) for _ in range(2)]


def fit(model, data, variable):
    """One step an epoch: the values after every one of them are those that are averaged."""
    seen = Weights(variable)
    model.fit(data, batch_size=8, epochs=STEPS, verbose=0, shuffle=False, callbacks=[seen])
    # At the end of `fit` the weights are their averages.
    np.testing.assert_allclose(
        array_of(variable), expected_average(seen.values, DECAY), atol=1e-6, rtol=1e-5
    )
    spread = np.abs(seen.values[0] - seen.values[-1]).max()
    assert spread > 1e-4  # and they have moved


def test_a_prior_is_averaged_with_a_decay_that_grows():
    prior = make_map_prior()
    prior.compile(optimizers()[0])
    data = {"tokens": random_tokens(8), "condition": random_maps(8)}
    fit(prior, data, prior.trainable_variables[0])


@pytest.mark.parametrize("player", ["tokenizer", "discriminator"])
def test_both_players_are_averaged_with_a_decay_that_grows(player, images):
    trainer = make_trainer(features=False)
    trainer.compile(*optimizers())
    fit(trainer, images, getattr(trainer, player).trainable_variables[0])


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((8, 16, 16, 3), dtype="float32")


def test_a_few_steps_at_a_large_decay_are_not_undone(images):
    trainer = TokenizerTrainer(make_tokenizer())
    trainer.compile(keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.999))
    history = trainer.fit(images, batch_size=8, epochs=30, verbose=0).history["l1"]
    kept = trainer.evaluate(images, verbose=0, return_dict=True)["l1"]
    assert kept < history[0] - 0.6 * (history[0] - history[-1])

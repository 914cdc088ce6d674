"""Averaged weights forget how training began."""

import keras
import numpy as np
import pytest

from tests.models.priors.tiny_prior import make_map_prior, random_maps, random_tokens
from tests.training.conftest import array_of, make_trainer

pytestmark = pytest.mark.eager

STEPS, DECAY = 6, 0.7


class Weights(keras.callbacks.Callback):
    """The values of some weights after each step."""

    def __init__(self, variables):
        super().__init__()
        self.variables, self.values = variables, []

    def on_epoch_end(self, epoch, logs=None):
        self.values.append([array_of(variable) for variable in self.variables])


def expected_average(values, decay, accumulated=1):
    average = np.zeros_like(values[0])
    for batch, value in enumerate(values):
        t = batch // accumulated
        momentum = min(decay, (1 + t) / (10 + t)) if t else 0.0
        average = momentum * average + (1 - momentum) * value
    return average


def optimizers(**options):
    averages = {"use_ema": True, "ema_momentum": DECAY, **options}
    return [keras.optimizers.SGD(0.1, **averages) for _ in range(2)]


def fit(model, data, variables, accumulated=1):
    """One step an epoch: the values after every one of them are those that are averaged."""
    seen = Weights(variables)
    model.fit(data, batch_size=8, epochs=STEPS, verbose=0, shuffle=False, callbacks=[seen])
    for variable, values in zip(variables, zip(*seen.values, strict=True), strict=True):
        # At the end of `fit` the weights are their averages.
        expected = expected_average(values, DECAY, accumulated)
        np.testing.assert_allclose(array_of(variable), expected, atol=1e-6, rtol=1e-5)
        assert np.abs(values[0] - values[-1]).max() > 1e-4  # and they have moved


@pytest.mark.compiled
@pytest.mark.parametrize("accumulated", [None, 2])
def test_a_prior_is_averaged_with_a_decay_that_grows(accumulated):
    prior = make_map_prior()
    prior.compile(optimizers(gradient_accumulation_steps=accumulated)[0])
    data = {"tokens": random_tokens(8), "condition": random_maps(8)}
    fit(prior, data, prior.trainable_variables[:2], accumulated or 1)


def test_both_players_are_averaged_with_a_decay_that_grows(rng):
    trainer = make_trainer(features=False)
    trainer.compile(*optimizers())
    images = rng.random((8, 16, 16, 3), dtype="float32")
    players = trainer.tokenizer, trainer.discriminator
    fit(trainer, images, [player.trainable_variables[0] for player in players])

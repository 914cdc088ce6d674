"""The schedule of a tokenizer's learning rate lasts as long as its training."""

import argparse
import importlib

import keras
import numpy as np
import pytest


@pytest.mark.one_backend
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("warmup", [0, 4])
def test_the_rate_is_at_its_lowest_when_the_steps_are_done(accumulate, warmup):
    module = importlib.import_module("shared.tokenizer_optimizer")
    steps = {"steps": 12, "warmup_steps": warmup, "accumulate": accumulate}
    others = {"learning_rate": 0.1, "optimizer": "adam", "ema": 0.0, "discriminator": False}
    optimizer, _ = module.build_optimizers(argparse.Namespace(**steps, **others))
    weight, rates = keras.Variable(np.ones(3)), []
    for _ in range(12):
        rates.append(float(optimizer.learning_rate))
        optimizer.apply([keras.ops.ones(3)], [weight])
    assert rates[warmup] == pytest.approx(0.1)
    middle = (12 + warmup) // 2  # of the cosine
    assert rates[middle] == pytest.approx(0.1 * (1 + 0.05) / 2, rel=0.02)
    assert float(optimizer.learning_rate) == pytest.approx(0.005, rel=0.02)

"""What `evaluate` says does not depend on batches, is the same each time, and changes nothing."""

import keras
import numpy as np
import pytest

from keras_regvq import models
from tests.models.priors.tiny_prior import (
    CODES,
    GRID,
    make_label_tokenizer,
    make_prior,
    random_images,
    random_maps,
    random_tokens,
)
from tests.training.conftest import array_of, make_trainer

pytestmark = pytest.mark.eager


def make_diffusion():
    return models.DiffusionPrior(CODES, GRID, channels=8, num_res_blocks=1, num_heads=2, seed=1)


def make_plain_trainer():
    return make_trainer(discriminator=False, features=False)


CASES = {
    "tokenizer": (make_plain_trainer, lambda: random_images(5)[:, :16, :16]),
    "label maps": (make_label_tokenizer, lambda: random_maps(5)),
    "prior": (make_prior, lambda: {"tokens": random_tokens(5)}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_smaller_last_batch_counts_by_its_examples(name):
    make, examples = CASES[name]
    model, data = make(), examples()
    model.compile(keras.optimizers.SGD(0.0))
    at_once, in_batches = (
        model.evaluate(data, batch_size=size, verbose=0, return_dict=True) for size in (5, 4)
    )
    for key in at_once:
        # Reg-VQ's prior is one over a whole batch.
        if key not in ("loss", "prior") or name != "tokenizer":
            assert in_batches[key] == pytest.approx(at_once[key], rel=1e-4), key


def test_the_logged_losses_of_unequal_batches_add_up():
    trainer = make_plain_trainer()
    trainer.compile(keras.optimizers.SGD(0.0))
    logs = trainer.evaluate(
        random_images(5)[:, :16, :16], batch_size=4, verbose=0, return_dict=True
    )
    assert logs["l1"] + logs["prior"] == pytest.approx(logs["loss"], rel=1e-5)


def features_trainer():
    return make_trainer(discriminator=False, contrastive_positions=3)


@pytest.mark.parametrize(
    "make, data",
    [
        (make_diffusion, {"tokens": random_tokens(4)}),
        (features_trainer, random_images(4)[:, :16, :16]),
    ],
)
def test_evaluation_repeats_itself_and_leaves_the_training_as_it_would_be(make, data):
    trained = []
    for validation in (None, (data,)):
        keras.utils.set_random_seed(0)
        model = make()
        model.compile(keras.optimizers.SGD(0.1))
        # In order: PyTorch's loaders draw from one generator.
        options = {"shuffle": False, "verbose": 0, "validation_data": validation}
        model.fit(data, batch_size=4, epochs=2, **options)
        trained.append([array_of(variable) for variable in model.trainable_variables])
    for without, with_validation in zip(*trained, strict=True):
        np.testing.assert_array_equal(without, with_validation)
    first, second = (model.evaluate(data, verbose=0, return_dict=True) for _ in range(2))
    assert first == second


def test_diffusion_evaluates_other_batches_with_other_noise():
    prior = make_diffusion()
    noised = [
        keras.ops.convert_to_numpy(prior({"tokens": tokens})["noised"])
        for tokens in (random_tokens(4, seed=1), random_tokens(4, seed=2))
    ]
    hidden = [grid == CODES for grid in noised]
    assert hidden[0].any() and (hidden[0] != hidden[1]).any()

"""Arguments of `generate` at their limits: what is sampled, or which of them is wrong."""

import keras
import numpy as np
import pytest

from keras_regvq import models
from tests.models.priors.tiny_diffusion import make_diffusion_prior
from tests.models.priors.tiny_prior import CLASSES, CODES, GRID, make_prior, random_tokens

pytestmark = pytest.mark.eager


@pytest.fixture(scope="module")
def prior():
    return make_prior(models.ClassCondition(CLASSES), condition_dropout=0.1)


@pytest.fixture(scope="module")
def diffusion():
    return make_diffusion_prior(condition=models.ClassCondition(CLASSES), condition_dropout=0.1)


def test_temperatures_that_logits_cannot_be_divided_by_take_the_likeliest(prior):
    likeliest = prior.generate([0, 1], temperature=0, seed=0)
    assert len(np.unique(likeliest)) > 1
    for temperature in (2e-6, 1e-19, 1e-37, 1e-45, 1e-300):
        found = prior.generate([0, 1], temperature=temperature, seed=0)
        np.testing.assert_array_equal(found, likeliest)


@pytest.mark.parametrize(
    "options, named",
    [
        ({"seed": -1}, "seed"), ({"seed": 1.5}, "seed"), ({"seed": "a"}, "seed"),
        ({"batch_size": 0}, "batch_size"), ({"batch_size": 2.5}, "batch_size"),
        ({"guidance_scale": 1e39}, "guidance_scale"), ({"num_samples": 50}, "num_samples"),
        ({"tokens": 5, "mask": 5}, "tokens"), ({"tokens": random_tokens(3), "mask": 1}, "tokens"),
        ({"tokens": [[[1], [1, 2]]], "mask": 1}, "tokens"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_by_both_priors(prior, diffusion, options, named):
    for made in (prior, diffusion):
        with pytest.raises(ValueError, match=f"`{named}` is wrong"):
            steps = {"num_steps": 3} if made is diffusion else {}
            made.generate([0, 1], **steps, **options)


def test_a_schedule_that_gives_no_numbers_is_refused(prior):
    with pytest.raises(ValueError, match="`guidance_schedule` is wrong.*nan"):
        prior.generate([0], guidance_scale=2.0, guidance_schedule=lambda share: float("nan"))


@pytest.mark.parametrize("seed", [-1, 1.5, 2**31])
def test_a_seed_that_some_backend_could_not_draw_from_is_refused(seed):
    with pytest.raises(ValueError, match="`seed` is wrong.*0 to 2147483647, or None"):
        models.AutoregressivePrior(CODES, GRID, 1, 2, 16, seed=seed)


def test_batches_of_unequal_lengths_are_refused(prior, diffusion):
    batch = {"tokens": random_tokens(4), "condition": np.array([1])}
    for made in (prior, diffusion):
        made.compile(keras.optimizers.SGD(0.0))
        with pytest.raises(ValueError, match="`x` is wrong.*'tokens': 4, 'condition': 1"):
            made.train_on_batch(batch)
        with pytest.raises(ValueError, match="'tokens': 4, 'condition': 1"):
            made.fit(iter([batch]), verbose=0)

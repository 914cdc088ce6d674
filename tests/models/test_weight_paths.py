"""No two weights of a prior share a path.

Keras's PyTorch backend registers weights by their paths, and `fit` zeroes the gradients of those
that it registered: of two weights with one path, the first one's gradients would add up over all
steps.
"""

import collections

import pytest

from keras_regvq import models
from tests.models.priors.tiny_diffusion import make_diffusion_prior
from tests.models.priors.tiny_prior import CLASSES, make_label_tokenizer, make_map_prior, make_prior


def tokenized_map_condition():
    return models.TokenizedMapCondition(make_label_tokenizer())


PRIORS = {
    "unconditional": make_prior,
    "classes": lambda: make_prior(models.ClassCondition(CLASSES), condition_dropout=0.1),
    "label maps": make_map_prior,
    "tokenized maps": lambda: make_prior(tokenized_map_condition()),
    "words": lambda: make_diffusion_prior(
        condition=models.WordCondition(9, 5), condition_dropout=0.1, num_res_blocks=2
    ),
    "text features": lambda: make_diffusion_prior(
        "gaussian", models.TextFeatureCondition(5, 12), attention_levels=(0, 1)
    ),
}


@pytest.mark.parametrize("name", PRIORS)
def test_every_weight_has_its_own_path(name):
    paths = collections.Counter(weight.path for weight in PRIORS[name]().trainable_variables)
    assert len(paths) > 10
    assert [path for path, count in paths.items() if count > 1] == []

"""Tiny models: 16-pixel images, 64 tokens, networks that compile in seconds on JAX."""

import keras
import numpy as np
import pytest

from keras_regvq.models import ImageTokenizer, PatchDiscriminator
from keras_regvq.quantizers import RegularizedQuantizer
from keras_regvq.training import TokenizerTrainer
from tests.training.replicas_run import make_features

CODES = 12


def make_tokenizer(quantizer=None, **options):
    quantizer = quantizer or RegularizedQuantizer(CODES, 6, seed=3)
    sizes = {
        "base_channels": 8,
        "channel_multipliers": (1, 2),
        "num_res_blocks": 1,
        "attention_resolutions": (),
        "latent_channels": 8,
    }
    return ImageTokenizer(16, quantizer, **{**sizes, **options})


# TensorFlow and JAX compile it often, so it is short. Steps through levels and attention are
# compared with plain PyTorch's in test_step_equals_plain_torch.py.
SHORT = {"patch_size": 2, "channel_multipliers": (1,), "middle_attention": False}


def make_trainer(quantizer=None, discriminator=True, features=True, tokenizer=None, **settings):
    return TokenizerTrainer(
        tokenizer or make_tokenizer(quantizer, **SHORT),
        PatchDiscriminator(4, 1) if discriminator else None,
        make_features() if features else None,
        **{"discriminator_ramp": 1, "seed": 5, **settings},
    )


def array_of(variable):
    """A copy of a variable's or tensor's value."""
    return np.array(keras.ops.convert_to_numpy(variable))


def weights_of(model):
    """Copies of all that a model holds, in order: its weights and its random states."""
    return [array_of(variable) for variable in model.variables]


def differences(first, second):
    """The largest absolute difference of two lists of arrays."""
    return max(float(np.abs(a - b).max()) for a, b in zip(first, second, strict=True))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((8, 16, 16, 3), dtype="float32")

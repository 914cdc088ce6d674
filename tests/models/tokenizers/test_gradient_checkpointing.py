"""Blocks whose inside is computed again in the backward pass."""

import keras
import numpy as np
import pytest

from keras_regvq.models import ImageTokenizer
from keras_regvq.quantizers import VectorQuantizer
from keras_regvq.training import TokenizerTrainer


def trained(images, dtype=None, **options):
    """A tokenizer's weights before and after two steps."""
    keras.utils.set_random_seed(7)
    small = {"base_channels": 8, "channel_multipliers": (1, 2), "num_res_blocks": 1}
    tokenizer = ImageTokenizer(
        8, VectorQuantizer(8, 4), latent_channels=8, norm_groups=4, dtype=dtype, **small, **options
    )
    trainer = TokenizerTrainer(tokenizer)
    trainer.compile(keras.optimizers.SGD(0.1))
    before = [keras.ops.convert_to_numpy(weight) for weight in tokenizer.trainable_variables]
    trainer.fit(images, batch_size=4, epochs=2, shuffle=False, verbose=0)
    after = [keras.ops.convert_to_numpy(weight) for weight in tokenizer.trainable_variables]
    return before, after


@pytest.mark.parametrize(
    "options, atol", [({"dropout": 0.5}, 2e-6), ({"dtype": "mixed_bfloat16"}, 0.02)]
)
def test_it_changes_no_gradient(rng, monkeypatch, options, atol):
    images, again = rng.random((4, 8, 8, 3), dtype="float32"), []
    remat = keras.remat
    monkeypatch.setattr(keras, "remat", lambda function: again.append(function) or remat(function))
    before, plain = trained(images, **options)
    assert not again
    _, checkpointed = trained(images, gradient_checkpointing=True, **options)
    # One block a level and two in the middle of the encoder, one more a level of the decoder.
    assert len(again) % (2 + 2 + 4 + 2) == 0 and again
    assert max(np.abs(a - b).max() for a, b in zip(plain, before, strict=True)) > 0.05
    for a, b in zip(plain, checkpointed, strict=True):
        np.testing.assert_allclose(a, b, atol=atol)

import keras
import numpy as np
import pytest

from keras_regvq.models import ImageTokenizer
from keras_regvq.quantizers import RegularizedQuantizer
from keras_regvq.training import TokenizerTrainer

pytestmark = pytest.mark.eager


class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype="uint8")


@pytest.fixture
def trainer():
    quantizer = RegularizedQuantizer(8, 4, seed=0)
    trainer = TokenizerTrainer(ImageTokenizer(16, quantizer, 8, (1, 2), 1, (), 4))
    trainer.compile(keras.optimizers.SGD(0.1))
    return trainer


def test_what_was_trained_before_an_interruption_is_kept(trainer, images):
    before = trainer.tokenizer.get_weights()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(images, batch_size=2, verbose=0, shuffle=False, callbacks=[Stop()])
    after = trainer.tokenizer.get_weights()
    assert any((a != b).any() for a, b in zip(before, after, strict=True))
    assert int(trainer.step.numpy()) == 2
    assert trainer.tokenizer.encode(images).shape == (8, 8, 8)
    trainer.fit(images, batch_size=2, verbose=0)
    assert int(trainer.step.numpy()) == 6


def test_a_first_step_that_fails_leaves_the_weights_as_they_were(trainer):
    def wrong_batches():
        yield (np.zeros((2, 16, 16, 1), "uint8"),)

    before = trainer.tokenizer.get_weights()
    with pytest.raises(ValueError, match="Argument `images`"):
        trainer.fit(wrong_batches(), steps_per_epoch=1, verbose=0)
    for old, new in zip(before, trainer.tokenizer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)

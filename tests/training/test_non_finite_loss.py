"""A training that became NaN stops, says what and where, and leaves the last good backup."""

import warnings

import keras
import numpy as np
import pytest

from keras_regvq.models import AutoregressivePrior
from keras_regvq.training import NonFiniteLoss, NonFiniteLossError
from tests.training.conftest import array_of, make_trainer

pytestmark = pytest.mark.eager


def ruin(model, value):
    """Make the last weight `value`, from the third step on."""

    class Ruin(keras.callbacks.Callback):
        steps = 0

        def on_train_batch_begin(self, batch, logs=None):
            self.steps += 1
            if self.steps == 3:
                getattr(model, "jax_state_sync", lambda: None)()
                weight = model.trainable_variables[-1]
                weight.assign(np.full(weight.shape, value, "float32"))

    return Ruin()


def test_fit_stops_at_the_step_and_names_the_losses(images):
    trainer = make_trainer(discriminator=False, features=False)
    trainer.compile("sgd")
    with pytest.raises(NonFiniteLossError, match=r"Epoch 1, step 3: .*l1 is nan.*loss is nan"):
        trainer.fit(
            images, batch_size=2, verbose=0, callbacks=[ruin(trainer, np.nan), NonFiniteLoss()]
        )


@pytest.mark.one_backend
def test_an_infinite_loss_of_a_prior_stops_the_second_epoch():
    prior = AutoregressivePrior(8, (2, 2), 1, 1, 8)
    prior.compile("sgd")
    data = {"tokens": np.zeros((4, 2, 2), "int32")}
    callbacks = [ruin(prior, np.inf), NonFiniteLoss()]
    with pytest.raises(RuntimeError, match=r"Epoch 2, step 1: bits_per_token is "):
        prior.fit(data, batch_size=2, epochs=3, verbose=0, callbacks=callbacks)


def test_weights_that_the_last_step_ruined_are_not_backed_up(images, tmp_path):
    trainer = make_trainer(discriminator=False, features=False)
    trainer.compile("sgd")
    saved = []

    class Backup(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            saved.append(array_of(trainer.trainable_variables[0]))

    class RuinLast(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                trainer.trainable_variables[1].assign(
                    np.full(trainer.trainable_variables[1].shape, np.nan, "float32")
                )

    with pytest.raises(NonFiniteLossError, match="Epoch 2, at its end: the weight .*not finite"):
        callbacks = [RuinLast(), NonFiniteLoss(), Backup()]
        trainer.fit(images, batch_size=4, epochs=3, verbose=0, callbacks=callbacks)
    assert len(saved) == 1 and np.isfinite(saved[0]).all()


@pytest.mark.one_backend
def test_a_good_training_passes_in_silence_and_is_the_same(images):
    histories = []
    for callbacks in ([], [NonFiniteLoss()]):
        keras.utils.set_random_seed(3)
        trainer = make_trainer(discriminator=False, features=False)
        trainer.compile("sgd")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            history = trainer.fit(images, batch_size=4, epochs=2, verbose=0, callbacks=callbacks)
        histories.append(history.history)
    assert histories[0] == histories[1]


@pytest.fixture
def float16_trainer():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    trainer = make_trainer(discriminator=False, features=False)
    trainer.compile("sgd")
    yield trainer
    keras.config.set_dtype_policy(before)


def test_float16_steps_that_are_all_skipped_are_warned_of_once(float16_trainer, images):
    trainer = float16_trainer
    trainer.optimizer.build(trainer.trainable_variables)
    trainer.optimizer.dynamic_scale.assign(1e38)  # every scaled gradient is infinite
    with pytest.warns(UserWarning, match="The last 2 steps were all skipped.*loss scale") as caught:
        trainer.fit(images, batch_size=1, verbose=0, callbacks=[NonFiniteLoss(patience=2)])
    assert sum("skipped" in str(warning.message) for warning in caught) == 1


def test_a_float16_training_that_is_nan_for_good_is_an_error(float16_trainer, images):
    trainer = float16_trainer
    ruined = ruin(trainer, np.nan)
    ruined.steps = 2
    # TensorFlow's gradient of |NaN| is NaN, and the step is skipped; 0 elsewhere, and it is not.
    expected = "Epoch 1, (step 1: .*All steps were skipped|at its end: the weight .* not finite)"
    with pytest.raises(NonFiniteLossError, match=expected):
        trainer.fit(images, batch_size=4, verbose=0, callbacks=[ruined, NonFiniteLoss()])


def test_no_metric_is_a_fine_number_where_reconstructions_are_nan(images):
    trainer = make_trainer(discriminator=False, features=False)
    trainer.compile("sgd")
    weight = trainer.tokenizer.decoder.trainable_variables[-1]
    weight.assign(np.full(weight.shape, np.nan, "float32"))
    result = trainer.evaluate(images, batch_size=4, verbose=0, return_dict=True)
    assert all(np.isnan(result[name]) for name in ("l1", "loss", "psnr"))

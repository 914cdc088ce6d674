"""Mixed precision, accumulation, clipping, averaging and learning rates, for both players."""

import keras
import numpy as np
import pytest

from keras_regvq.quantizers import VectorQuantizer
from keras_regvq.training import TwoPlayerOptimizer
from tests.gradients import layer_outputs
from tests.training.conftest import CODES, array_of, differences, make_trainer


@pytest.fixture
def policy():
    """Sets the global dtype policy for one test."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def fit(trainer, images, **options):
    options = {"batch_size": 4, "shuffle": False, "verbose": 0, **options}
    return trainer.fit(images, **options).history


def players_weights(trainer):
    return [
        [array_of(weight) for weight in player.trainable_variables]
        for player in (trainer.tokenizer, trainer.discriminator)
    ]


def test_mixed_bfloat16_trains_and_spares_quantizer_and_last_convolutions(policy, images):
    policy("mixed_bfloat16")
    trainer = make_trainer()
    networks = trainer.tokenizer.encoder, trainer.tokenizer.decoder, trainer.discriminator
    in_bfloat16 = [
        [layer.name for layer in network.layers if layer.compute_dtype == "bfloat16"]
        for network in networks
    ]
    assert "conv_in" in in_bfloat16[0] and "conv_out" in in_bfloat16[0]
    assert "conv_in" in in_bfloat16[1] and "conv_out" not in in_bfloat16[1]
    assert "conv_0" in in_bfloat16[2] and "conv_out" not in in_bfloat16[2]
    assert trainer.tokenizer.quantizer.compute_dtype == "float32"
    assert {variable.dtype for variable in trainer.trainable_variables} == {"float32"}

    before = players_weights(trainer)
    trainer.compile(keras.optimizers.SGD(0.1))
    history = fit(trainer, images, epochs=2)
    assert all(np.isfinite(values).all() for values in history.values()), history
    for old, new in zip(before, players_weights(trainer), strict=True):
        assert differences(old, new) > 1e-4


@pytest.fixture(scope="module")
def float16_trainer(images):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    keras.utils.set_random_seed(6)
    trainer = make_trainer()
    trainer.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    keras.config.set_dtype_policy(before)
    fit(trainer, images[:4])  # makes the optimizer's variables: each test is one of its own
    return trainer


def test_mixed_float16_scales_the_loss_and_trains_both_players(float16_trainer, images):
    trainer = float16_trainer
    assert isinstance(trainer.optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(trainer.optimizer.inner_optimizer, TwoPlayerOptimizer)
    before = players_weights(trainer)
    history = fit(trainer, images)
    assert all(np.isfinite(values).all() for values in history.values()), history
    for old, new in zip(before, players_weights(trainer), strict=True):
        assert differences(old, new) > 1e-4


@pytest.mark.parametrize("overflow", ["gradients", "activations"])
def test_a_step_that_overflows_is_skipped_for_both_players(overflow, float16_trainer, images):
    trainer = float16_trainer
    kernel = trainer.tokenizer.decoder.get_layer("conv_in").kernel
    restored = array_of(kernel)
    if overflow == "gradients":
        trainer.optimizer.dynamic_scale.assign(1e38)
    else:
        kernel.assign(restored * 1e6)
        trainer.optimizer.dynamic_scale.assign(1024.0)
    scale = float(array_of(trainer.optimizer.dynamic_scale))
    before = players_weights(trainer)
    players = trainer.optimizer.inner_optimizer.optimizers
    momenta = [array_of(v) for player in players for v in player.variables]
    fit(trainer, images[:4])
    for old, new in zip(before, players_weights(trainer), strict=True):
        assert differences(old, new) == 0.0
    after = [array_of(v) for player in players for v in player.variables]
    assert differences(momenta, after) == 0.0
    assert float(array_of(trainer.optimizer.dynamic_scale)) == scale / 2
    kernel.assign(restored)


def nearest_code_trainer(**settings):
    """No random draws, and no loss but means over the batch: batches can be taken apart."""
    keras.utils.set_random_seed(4)
    settings = {"features": False, "adversarial_weight": 0.0, **settings}
    return make_trainer(VectorQuantizer(CODES, 6), **settings)


def test_accumulated_half_batches_move_both_players_as_the_whole_batch(images):
    trainers = [nearest_code_trainer() for _ in range(2)]
    before = players_weights(trainers[0])
    for twins in zip(*map(players_weights, trainers), strict=True):
        assert differences(*twins) == 0.0
    for trainer, steps in zip(trainers, (1, 2), strict=True):
        trainer.compile(
            keras.optimizers.SGD(0.5, gradient_accumulation_steps=steps if steps > 1 else None)
        )
        fit(trainer, images[:4], batch_size=4 // steps)
    moved = [players_weights(trainer) for trainer in trainers]
    for old, whole, halves in zip(before, *moved, strict=True):
        assert differences(old, whole) > 1e-2
        assert differences(whole, halves) < 1e-5


@pytest.mark.eager
def test_gradients_are_clipped_for_each_player_by_its_own_optimizer(images):
    trainer = nearest_code_trainer()
    players = trainer.tokenizer, trainer.discriminator
    trainer.compile(
        keras.optimizers.SGD(1.0, clipnorm=1e-3), keras.optimizers.SGD(1.0, global_clipnorm=1e-2)
    )
    before = [[array_of(v) for v in p.trainable_variables] for p in players]
    fit(trainer, images[:4])
    norms = [
        [
            np.linalg.norm(array_of(variable) - old)
            for variable, old in zip(player.trainable_variables, olds, strict=True)
        ]
        for player, olds in zip(players, before, strict=True)
    ]
    np.testing.assert_allclose(np.linalg.norm(norms[1]), 1e-2, rtol=1e-3)
    np.testing.assert_allclose(np.max(norms[0]), 1e-3, rtol=1e-2)
    assert np.linalg.norm(norms[0]) > 2e-3  # each variable was clipped, not all of them together


class RecordWeights(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        trainable = self.model.tokenizer.trainable_variables
        self.weights.append([array_of(v) for v in trainable])


@pytest.mark.eager
@pytest.mark.parametrize("discriminator", [True, pytest.param(False, marks=pytest.mark.seldom)])
def test_averaged_weights_are_the_exponential_average_of_the_steps_with_a_decay_that_grows(
    discriminator, images
):
    trainer = make_trainer(discriminator=discriminator, features=False)
    trainer.compile(
        keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.75),
        keras.optimizers.SGD(0.5) if discriminator else None,
    )
    record = RecordWeights()
    average, updates = None, 0
    for _ in range(2):  # the second fit goes on from the averaged weights
        fit(trainer, images, batch_size=2, callbacks=[record])
        for weights in record.weights:
            if average is None:
                average = weights
            decay = min(0.75, (1 + updates) / (10 + updates))
            average = [decay * a + (1 - decay) * w for a, w in zip(average, weights, strict=True)]
            updates += 1
        final = [array_of(v) for v in trainer.tokenizer.trainable_variables]
        assert differences(record.weights[-1], final) > 1e-3
        assert differences(average, final) < 1e-6


@pytest.mark.one_backend
def test_learning_rate_callbacks_reach_both_players(images):
    trainer = make_trainer(features=False)
    trainer.compile(keras.optimizers.SGD(0.5), keras.optimizers.SGD(0.25))
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    fit(trainer, images, epochs=2, callbacks=[scheduler])
    assert learning_rates(trainer) == [0.125, 0.0625]
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)
    fit(trainer, images, epochs=2, callbacks=[plateau])
    assert learning_rates(trainer) == [0.0625, 0.03125]


def learning_rates(trainer):
    return [float(array_of(each.learning_rate)) for each in trainer.optimizer.optimizers]


def test_a_loss_scaling_optimizer_is_refused_since_scaling_is_added():
    trainer = nearest_code_trainer()
    with pytest.raises(ValueError, match="`optimizer`.*mixed_float16"):
        trainer.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)))


@pytest.mark.one_backend
def test_a_trainer_without_an_adversary_is_saved_and_loaded_under_loss_scaling(images, tmp_path):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        trainer = nearest_code_trainer()
        trainer = type(trainer)(trainer.tokenizer)
        trainer.compile(keras.optimizers.SGD(0.1))
        trainer.fit(images[:4], verbose=0)
        trainer.save(tmp_path / "trainer.keras")
        loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    finally:
        keras.config.set_dtype_policy(policy)
    assert isinstance(loaded.optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(loaded.optimizer.inner_optimizer, keras.optimizers.SGD)
    assert int(loaded.step.numpy()) == 1


@pytest.mark.seldom
@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_moving_averages_are_float32_and_updated_by_each_batch_of_an_accumulated_step(
    name, policy, images
):
    policy(name)
    quantizer = VectorQuantizer(CODES, 6, ema=0.9, codebook_start="sampled", seed=1)
    trainer = make_trainer(quantizer, discriminator=False, features=False)
    trainer.compile(keras.optimizers.SGD(1e-30, gradient_accumulation_steps=2))
    state = {variable.path: variable for variable in quantizer.non_trainable_variables}
    assert {v.dtype for v in state.values() if "seed" not in v.path} <= {"float32", "int32"}
    copy = VectorQuantizer.from_config({**quantizer.get_config(), "name": "copy"})
    copy.build((None, None, None, 6))
    for variable, value in zip(copy.variables, quantizer.variables, strict=True):
        variable.assign(array_of(value))

    trainer.evaluate(images, batch_size=4, verbose=0)
    assert array_of(quantizer.upkeep.started) == 0
    fit(trainer, images[:6], batch_size=2)
    for start in (0, 2, 4):
        features = trainer.tokenizer.features(images[start : start + 2], training=True)
        layer_outputs(copy, array_of(keras.ops.cast(features, "float32")), training=True)
    assert array_of(quantizer.upkeep.started) == 1
    for variable, expected in zip(quantizer.variables, copy.variables, strict=True):
        # Compiled features are rounded to half precision at other places.
        wanted, found = array_of(expected), array_of(variable)
        assert np.linalg.norm(found - wanted) <= 0.04 * np.linalg.norm(wanted), variable.path

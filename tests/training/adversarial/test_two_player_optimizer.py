import keras
import numpy as np
import pytest
from keras import ops

from keras_regvq.training import TwoPlayerOptimizer


def value(variable):
    return np.array(ops.convert_to_numpy(variable))


@pytest.fixture
def variables():
    return [keras.Variable(np.full(3, i, "float32"), name=f"v{i}") for i in range(4)]


def gradients():
    return [ops.full((3,), float(10**i)) for i in range(4)]


def test_each_gradient_goes_to_its_players_optimizer(variables):
    optimizer = TwoPlayerOptimizer(
        keras.optimizers.SGD(1.0), keras.optimizers.SGD(0.1), [variables[1], variables[3]]
    )
    optimizer.build(variables)
    optimizer.apply(gradients(), variables)
    moved = [value(v)[0] - i for i, v in enumerate(variables)]
    np.testing.assert_allclose(moved, [-1.0, -1.0, -100.0, -100.0], rtol=1e-5)
    counted = [optimizer, *optimizer.optimizers]
    assert [int(value(each.iterations)) for each in counted] == [1, 1, 1]


def test_norms_are_clipped_for_each_player_apart(variables):
    # Norms of the gradients: sqrt(3) * (1, 10, 100, 1000).
    optimizer = TwoPlayerOptimizer(
        keras.optimizers.SGD(1.0, global_clipnorm=1.0),
        keras.optimizers.SGD(1.0, global_clipnorm=5.0),
        [variables[2]],
    )
    optimizer.build(variables)
    optimizer.apply(gradients(), variables)
    moved = [np.linalg.norm(value(v) - i) for i, v in enumerate(variables)]
    np.testing.assert_allclose(moved[2], 5.0, rtol=1e-5)
    others = np.array([1.0, 10.0, 1000.0])
    expected = others / np.linalg.norm(others)
    np.testing.assert_allclose([moved[0], moved[1], moved[3]], expected, rtol=1e-4)


def test_the_learning_rate_is_set_for_both_and_read_from_the_generators():
    optimizer = TwoPlayerOptimizer(keras.optimizers.SGD(0.5), keras.optimizers.Adam(0.25))
    assert float(value(optimizer.learning_rate)) == 0.5
    optimizer.learning_rate = 0.125
    assert [float(value(each.learning_rate)) for each in optimizer.optimizers] == [0.125, 0.125]


def test_a_learning_rate_schedule_survives_the_config():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    optimizer = TwoPlayerOptimizer(
        keras.optimizers.Adam(schedule, beta_1=0.5), keras.optimizers.SGD(0.3, momentum=0.7)
    )
    config = keras.saving.serialize_keras_object(optimizer)
    copy = keras.saving.deserialize_keras_object(config)
    assert isinstance(copy, TwoPlayerOptimizer)
    assert copy.get_config() == optimizer.get_config()
    generator, discriminator = copy.optimizers
    assert generator.beta_1 == 0.5 and discriminator.momentum == 0.7
    assert generator._learning_rate.get_config() == schedule.get_config()
    np.testing.assert_allclose(value(discriminator.learning_rate), 0.3)


def test_its_state_is_saved_and_restored_with_both_players(variables):
    def make(variables):
        optimizer = TwoPlayerOptimizer(
            keras.optimizers.Adam(0.1), keras.optimizers.SGD(0.1, momentum=0.9), variables[2:]
        )
        optimizer.build(variables)
        return optimizer

    optimizer = make(variables)
    for _ in range(2):
        optimizer.apply(gradients(), variables)
    store = {}
    optimizer.save_own_variables(store)
    twins = [keras.Variable(value(variable)) for variable in variables]
    restored = make(twins)
    restored.load_own_variables(store)

    for each in optimizer, restored:
        each.apply(gradients(), variables if each is optimizer else twins)
    for variable, twin in zip(variables, twins, strict=True):
        np.testing.assert_array_equal(value(variable), value(twin))
    assert [int(value(each.iterations)) for each in (restored, *restored.optimizers)] == [3, 3, 3]


def test_gradients_of_a_scaled_loss_are_unscaled_by_both_players(variables):
    players = [keras.optimizers.SGD(1.0, loss_scale_factor=8.0) for _ in range(2)]
    optimizer = TwoPlayerOptimizer(*players, variables[2:])
    optimizer.build(variables)
    loss = float(value(optimizer.scale_loss(ops.ones(()))))
    optimizer.apply([loss * gradient for gradient in gradients()], variables)
    moved = [value(v)[0] - i for i, v in enumerate(variables)]
    np.testing.assert_allclose(moved, [-1.0, -10.0, -100.0, -1000.0], rtol=1e-5)


def test_dynamic_loss_scaling_takes_the_place_of_a_fixed_factor(variables):
    players = [keras.optimizers.SGD(1.0, loss_scale_factor=8.0) for _ in range(2)]
    keras.optimizers.LossScaleOptimizer(TwoPlayerOptimizer(*players, variables[2:]))
    assert [player.loss_scale_factor for player in players] == [None, None]


def test_players_that_would_unscale_a_loss_that_nobody_scaled_are_refused():
    scaling = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0))
    for wrong in scaling, keras.optimizers.SGD(1.0, loss_scale_factor=8.0):
        with pytest.raises(ValueError, match="`discriminator_optimizer`"):
            TwoPlayerOptimizer(keras.optimizers.SGD(1.0), wrong)
    with pytest.raises(ValueError, match="`generator_optimizer`"):
        TwoPlayerOptimizer(scaling, keras.optimizers.SGD(1.0))

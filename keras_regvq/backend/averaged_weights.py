"""Averages of weights that do not remember how training began."""

import functools
import types

import keras
from keras import ops


def players_of(optimizer):
    """The optimizers in one that Keras has wrapped for loss scaling, or that is made of several."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return getattr(optimizer, "optimizers", [optimizer])


def warm_up_averages(optimizer):
    """Let a Keras optimizer with `use_ema` average with min(ema_momentum, (1 + t) / (10 + t)).

    t counts the updates. Keras's decay is constant: after 300 updates at 0.999 three quarters of an
    average are still the first weights. As TensorFlow's `tf.train.ExponentialMovingAverage` does
    when it is given `num_updates`.
    """
    if not optimizer.use_ema or "_update_model_variables_moving_average" in vars(optimizer):
        return
    if keras.backend.backend() == "torch":
        from keras_regvq.backend.torch_optimizers import update_averages

        average = functools.partial(update_averages, optimizer)
    else:
        average = optimizer._update_model_variables_moving_average

    def warmed(self, trainable_variables):
        momentum = self.ema_momentum
        updates = ops.cast(self.iterations, "float32")
        self.ema_momentum = ops.minimum(momentum, (1.0 + updates) / (10.0 + updates))
        try:
            average(trainable_variables)
        finally:
            self.ema_momentum = momentum

    optimizer._update_model_variables_moving_average = types.MethodType(warmed, optimizer)

"""Where a model's variables are while it trains."""

import contextlib

from keras import ops

from keras_regvq.backend.averaged_weights import players_of


def synchronize(model):
    """Bring the model's variables up to date in the middle of a fit.

    On JAX Keras keeps them inside the compiled loop between epochs; elsewhere nothing is to do.
    """
    getattr(model, "jax_state_sync", lambda: None)()


@contextlib.contextmanager
def keeping_values(model):
    """Around `keras.Model`'s loops over data: an interruption leaves the model usable.

    It then has the last finished step's values: on JAX an error or Ctrl-C would leave variables
    without values, in `evaluate` and `predict` too.
    """
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer is not None else ())]
    values = [variable.value for variable in variables]
    try:
        yield
    except BaseException:
        synchronize(model)
        for variable, value in zip(variables, values, strict=True):
            if variable._value is None:  # no step finished: nothing was there to synchronize
                variable.assign(value)
        raise


@contextlib.contextmanager
def fitting(model):
    """What a model needs around `keras.Model.fit`, whose call is the body."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:  # `fit` itself will say so
        yield
        return
    if model.built and not optimizer.built:
        build_optimizer(model)
    with keeping_values(model):
        yield
    _separate_averages(model)


def build_optimizer(model):
    """Create the optimizer's variables now: TensorFlow traces a step that does so twice."""
    strategy = getattr(model, "distribute_strategy", None)
    with strategy.scope() if strategy else contextlib.nullcontext():
        model.optimizer.build(model.trainable_variables)


def _separate_averages(model):
    """Let the model be fitted again after a fit whose optimizers average weights (`use_ema`).

    On JAX each averaged weight then shares its average's buffer, and the next fit would hand both
    to XLA as buffers to overwrite.
    """
    if any(player.use_ema for player in players_of(model.optimizer)):
        for variable in model.trainable_variables:
            variable.assign(ops.copy(variable.value))

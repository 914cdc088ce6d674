"""Models whose `fit` and `evaluate` take their steps uncompiled."""

import functools

import keras

# Keras asks whether a model overrides this very class's `compile`: not to be set on keras.Model.
TRAINER = next(cls for cls in keras.Model.__mro__ if "compile" in vars(cls))
COMPILE = TRAINER.compile


@functools.wraps(COMPILE)
def compile_eagerly(self, *args, **options):
    eager = options.get("jit_compile") is not True
    return COMPILE(self, *args, **{"run_eagerly": eager, **options})


def use(eager):
    """Whether models that are compiled from now on are such."""
    TRAINER.compile = compile_eagerly if eager else COMPILE

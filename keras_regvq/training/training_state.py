"""All that training changes in a model, as arrays: with them a run goes on to the last bit."""

import zlib

import numpy as np
from keras import ops

from keras_regvq.backend.fit_state import build_optimizer, synchronize
from keras_regvq.backend.layer_tree import all_layers
from keras_regvq.checks.arguments import refuse


def read_state(model):
    """The values of a compiled, built model and its optimizer.

    Weights, counters, averages, the optimizer's slots and the random state of every layer, dropout
    too, of which Keras saves nothing. Frozen layers are left out: no step changes them.

    Returns:
        dict of arrays, "000000" and so on.
    """
    synchronize(model)
    return {f"{i:06d}": _array(v) for i, v in enumerate(_variables(model))}


def write_state(model, arrays):
    """Give a model what `read_state` found in one that was built and compiled in the same way.

    Raises:
        ValueError: if it was another model or another optimizer. Nothing is changed then.
    """
    variables = _variables(model)
    kept = [arrays[name] for name in sorted(arrays)]
    if len(kept) != len(variables):
        _refuse(f"{len(variables)} variables with its optimizer's", f"{len(kept)}")
    for variable, array in zip(variables, kept, strict=True):
        if tuple(variable.shape) != array.shape:
            _refuse(f"{variable.path} of shape {tuple(variable.shape)}", f"shape {array.shape}")
    for variable, array in zip(variables, kept, strict=True):
        variable.assign(array)


def _refuse(received, expected):
    refuse("model", received, f"{expected}, as in the model and optimizer that were saved")


def frozen_checksum(model):
    """A number that changes with the weights that no step changes."""
    frozen = _frozen(model)
    value = 0
    for variable in model.variables:
        if id(variable) in frozen:
            value = zlib.crc32(np.ascontiguousarray(_array(variable)), value)
    return value


def _variables(model):
    if not model.optimizer.built:
        build_optimizer(model)
    frozen = _frozen(model)
    changing = [v for v in model.variables if id(v) not in frozen]
    return [*changing, *model.optimizer.variables]


def _frozen(model):
    """The weights of frozen layers, without what such a layer holds that is not frozen."""
    frozen = set()
    for layer in all_layers(model):  # the innermost ones last
        own = {id(v) for v in layer.weights if not v.trainable}
        frozen = frozen - own if layer.trainable else frozen | own
    return frozen


def _array(variable):
    array = np.asarray(ops.convert_to_numpy(variable.value))
    return array.astype("float32") if array.dtype.kind == "V" else array  # bfloat16, exactly

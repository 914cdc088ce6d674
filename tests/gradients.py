"""Outputs of a layer, and gradients of a scalar function, on whichever backend runs."""

import functools

import keras
import numpy as np

BACKEND = keras.backend.backend()


def value_and_gradients(function, *arrays):
    """Differentiate a function of tensors.

    Args:
        function: maps float32 tensors, one an array, to a scalar tensor.
        arrays: NumPy arrays.

    Returns:
        (float, list of NumPy arrays of the arguments' shapes). Where nothing depends on an
        argument its gradient is zero.
    """

    def without_outputs(*tensors):
        return function(*tensors), None

    return _differentiate(without_outputs, [_tensor(array) for array in arrays], [])[:2]


def layer_outputs(layer, inputs, **call_arguments):
    """Call a built layer: its outputs as NumPy arrays."""
    inputs = _tensor(inputs)
    if BACKEND != "jax":
        outputs = layer(inputs, **call_arguments)
    else:
        call = _compiled_call(layer, tuple(call_arguments.items()))
        state = [variable.value for variable in layer.non_trainable_variables]
        weights = [variable.value for variable in layer.trainable_variables]
        outputs, new_state = call(weights, state, inputs)
        for variable, value in zip(layer.non_trainable_variables, new_state, strict=True):
            variable.assign(value)
    return keras.tree.map_structure(_numpy, outputs)


def layer_gradients(layer, inputs, loss, **call_arguments):
    """Differentiate a loss of a layer's outputs with respect to its input and its weights.

    Args:
        layer: a built keras.layers.Layer.
        inputs: NumPy array.
        loss: maps the layer's outputs to a scalar tensor.

    Returns:
        (outputs as NumPy arrays, float, {"inputs": gradient, name of a variable: gradient}); where
        variables share a name, that of their layer is before it.
    """
    variables = layer.trainable_variables
    state = layer.non_trainable_variables

    def function(inputs, *values):
        if BACKEND != "jax":
            outputs, new_state = layer(inputs, **call_arguments), []
        else:
            outputs, new_state = layer.stateless_call(
                values, [variable.value for variable in state], inputs, **call_arguments
            )
        return loss(outputs), (outputs, new_state)

    value, gradients, (outputs, new_state) = _differentiate(function, [_tensor(inputs)], variables)
    # Leave the random state behind that a call on the other backends leaves.
    for variable, new_value in zip(state, new_state, strict=False):
        variable.assign(new_value)
    names = ["inputs"] + [_own_name(variable, variables) for variable in variables]
    outputs = keras.tree.map_structure(_numpy, outputs)
    return outputs, value, dict(zip(names, gradients, strict=True))


def assert_unchanged(model, inputs, change):
    """Whether a function that changes a model leaves its outputs and its gradients as they were."""

    def run():
        return layer_gradients(model, inputs, lambda y: keras.ops.sum(keras.ops.square(y)))

    outputs, _, before = run()
    change(model)
    changed, _, after = run()
    assert_close(changed, outputs)
    assert set(after) == set(before) and len(before) >= 2
    for name, gradient in before.items():
        assert np.abs(gradient).max() > 0.1
        assert_close(after[name], gradient, message=name)


def assert_close(actual, expected, relative=1e-5, message=""):
    """|actual - expected| <= relative * (|expected| + max |expected|), everywhere."""
    expected = np.asarray(expected)
    scale = np.abs(expected).max() if expected.size else 0.0
    np.testing.assert_allclose(
        _numpy(actual), expected, rtol=relative, atol=relative * scale, err_msg=message
    )


def _own_name(variable, variables):
    alone = [other.name for other in variables].count(variable.name) == 1
    return variable.name if alone else "/".join(variable.path.split("/")[-2:])


def _tensor(array):
    if keras.ops.is_tensor(array):
        return array
    array = np.asarray(array)
    if array.dtype == np.float64:
        array = array.astype("float32")
    return keras.ops.convert_to_tensor(array)


def _numpy(value):
    return np.asarray(keras.ops.convert_to_numpy(value))


if BACKEND == "jax":
    import jax

    # Each test compiles its own small function: compiling fast counts, running fast does not.
    _jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

    @functools.lru_cache(maxsize=4)
    def _compiled_call(layer, call_arguments):
        return _jit(functools.partial(layer.stateless_call, **dict(call_arguments)))

    def _differentiate(function, tensors, variables):
        arguments = tensors + [variable.value for variable in variables]
        every = tuple(range(len(arguments)))
        differentiated = jax.value_and_grad(function, argnums=every, has_aux=True)
        (value, extra), gradients = _jit(differentiated)(*arguments)
        return float(value), [_numpy(gradient) for gradient in gradients], extra

elif BACKEND == "tensorflow":
    import tensorflow as tf

    def _differentiate(function, tensors, variables):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value, extra = function(*tensors)
        arguments = tensors + [variable.value for variable in variables]
        gradients = tape.gradient(value, arguments, unconnected_gradients="zero")
        gradients = [_numpy(tf.convert_to_tensor(gradient)) for gradient in gradients]
        return float(value), gradients, extra

else:
    import torch

    def _differentiate(function, tensors, variables):
        arguments = [tensor.detach().requires_grad_() for tensor in tensors]
        with torch.enable_grad():
            value, extra = function(*arguments)
        arguments += [variable.value for variable in variables]
        if value.requires_grad:
            gradients = torch.autograd.grad(
                value, arguments, allow_unused=True, materialize_grads=True
            )
        else:  # nothing depends on anything
            gradients = [torch.zeros_like(argument) for argument in arguments]
        return float(value.detach()), [_numpy(gradient) for gradient in gradients], extra

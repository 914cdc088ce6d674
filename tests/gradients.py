"""Value and gradients of a scalar function, on whichever backend runs."""

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
    value, gradients = _differentiate(function, [_tensor(array) for array in arrays], [])
    return value, gradients


def layer_gradients(layer, inputs, loss, **call_arguments):
    """Differentiate a loss of a layer's outputs with respect to its input and its weights.

    Args:
        layer: a built keras.layers.Layer.
        inputs: NumPy array.
        loss: maps the layer's outputs to a scalar tensor.

    Returns:
        (float, {"inputs": gradient, name of a trainable variable: gradient}).
    """
    variables = layer.trainable_variables

    def function(inputs, *values):
        if BACKEND != "jax":
            return loss(layer(inputs, **call_arguments))
        state = layer.non_trainable_variables
        outputs, new_state = layer.stateless_call(
            list(values), [variable.value for variable in state], inputs, **call_arguments
        )
        # As the other backends do, leave the random state behind that the call left.
        for variable, value in zip(state, new_state, strict=True):
            variable.assign(value)
        return loss(outputs)

    value, gradients = _differentiate(function, [_tensor(inputs)], variables)
    names = ["inputs"] + [variable.name for variable in variables]
    return value, dict(zip(names, gradients, strict=True))


def assert_close(actual, expected, relative=1e-5, message=""):
    """|actual - expected| <= relative * (|expected| + max |expected|), everywhere."""
    expected = np.asarray(expected)
    scale = np.abs(expected).max() if expected.size else 0.0
    np.testing.assert_allclose(
        _numpy(actual), expected, rtol=relative, atol=relative * scale, err_msg=message
    )


def _tensor(array):
    array = np.asarray(array)
    if array.dtype == np.float64:
        array = array.astype("float32")
    return keras.ops.convert_to_tensor(array)


def _numpy(value):
    return np.asarray(keras.ops.convert_to_numpy(value))


if BACKEND == "jax":
    import jax

    def _differentiate(function, tensors, variables):
        arguments = tensors + [variable.value for variable in variables]
        value, gradients = jax.value_and_grad(function, argnums=tuple(range(len(arguments))))(
            *arguments
        )
        return float(value), [_numpy(gradient) for gradient in gradients]

elif BACKEND == "tensorflow":
    import tensorflow as tf

    def _differentiate(function, tensors, variables):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        arguments = tensors + [variable.value for variable in variables]
        gradients = tape.gradient(value, arguments, unconnected_gradients="zero")
        return float(value), [_numpy(tf.convert_to_tensor(gradient)) for gradient in gradients]

else:
    import torch

    def _differentiate(function, tensors, variables):
        arguments = [tensor.detach().requires_grad_() for tensor in tensors]
        with torch.enable_grad():
            value = function(*arguments)
        arguments += [variable.value for variable in variables]
        if not value.requires_grad:
            return float(value), [_numpy(torch.zeros_like(argument)) for argument in arguments]
        gradients = torch.autograd.grad(
            value, arguments, allow_unused=True, materialize_grads=True
        )
        return float(value.detach()), [_numpy(gradient) for gradient in gradients]

"""GroupNorm against torch.nn.functional.group_norm in float64."""

import keras
import numpy as np
import pytest
import torch
from keras import ops

from keras_regvq.models.layers.group_norm import GroupNorm
from tests.gradients import assert_close, layer_gradients, layer_outputs


def make(rng, channels, **options):
    layer = GroupNorm(**options)
    layer.build((None, None, None, channels))
    layer.gamma.assign(rng.normal(1.0, 0.5, size=channels).astype("float32"))
    layer.beta.assign(rng.normal(size=channels).astype("float32"))
    return layer


def reference(layer, inputs, groups, upstream=None):
    """Output, and the gradients of sum(output * upstream), of PyTorch's."""
    tensors = [
        torch.tensor(np.asarray(value, "float64")).requires_grad_()
        for value in (inputs, *(ops.convert_to_numpy(v.value) for v in (layer.gamma, layer.beta)))
    ]
    values, gamma, beta = tensors
    outputs = torch.nn.functional.group_norm(
        values.permute(0, 3, 1, 2), groups, gamma, beta, eps=layer.epsilon
    ).permute(0, 2, 3, 1)
    if upstream is None:
        return outputs.detach().numpy(), None
    gradients = torch.autograd.grad((outputs * torch.tensor(upstream)).sum(), tensors)
    names = ("inputs", "gamma", "beta")
    return outputs.detach().numpy(), {
        name: gradient.numpy() for name, gradient in zip(names, gradients, strict=True)
    }


# Float32 values near `mean` are rounded to mean * 6e-8, seen against a deviation of 1: the data
# at mean 100 lose two digits before anything is computed with their mean.
@pytest.mark.parametrize(
    ("mean", "channels", "groups", "tolerance"),
    [
        (0.0, 64, 32, 1e-5),
        (5.0, 64, 32, 1e-5),
        (100.0, 64, 32, 1e-4),
        (0.0, 48, 16, 1e-5),  # 32 does not divide 48: gcd(32, 48) = 16 groups
        (0.0, 5, 1, 1e-5),
    ],
)
def test_values_and_gradients_equal_torch(mean, channels, groups, tolerance, rng):
    layer = make(rng, channels)
    inputs = rng.normal(mean, 1.0, size=(2, 4, 3, channels)).astype("float32")
    upstream = rng.normal(size=inputs.shape).astype("float32")
    expected, expected_gradients = reference(layer, inputs, groups, upstream)
    weights = ops.convert_to_tensor(upstream)
    outputs, _, gradients = layer_gradients(
        layer, inputs, lambda outputs: ops.sum(outputs * weights)
    )
    assert_close(outputs, expected, tolerance)
    assert set(gradients) == set(expected_gradients)
    for name, gradient in expected_gradients.items():
        assert_close(gradients[name], gradient, tolerance, message=name)


def test_half_precision_inputs_are_normalized_in_float32(rng):
    layer = make(rng, 8, groups=4, dtype="mixed_bfloat16")
    # Around 20, squares and sums in bfloat16 (3 digits) would leave nothing of the deviations.
    inputs = ops.cast(rng.normal(20.0, 1.0, size=(2, 4, 3, 8)).astype("float32"), "bfloat16")
    rounded = ops.convert_to_numpy(ops.cast(inputs, "float32"))
    expected, _ = reference(layer, rounded, 4)
    outputs = layer(inputs)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    outputs = ops.convert_to_numpy(ops.cast(outputs, "float32"))
    # Half a unit in the last of bfloat16's 8 bits: the output's own rounding and no more.
    assert (np.abs(outputs - expected) <= 2**-8 * np.abs(expected) + 1e-4).all()


def test_constant_inputs_give_the_offset_and_finite_gradients(rng):
    layer = make(rng, 8, groups=4)
    inputs = np.full((1, 2, 2, 8), 3.0, "float32")
    outputs, _, gradients = layer_gradients(layer, inputs, lambda outputs: ops.sum(outputs**2))
    assert_close(outputs, np.broadcast_to(ops.convert_to_numpy(layer.beta.value), inputs.shape))
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


def test_the_epsilon_is_the_layers(rng):
    layer = make(rng, 8, groups=4, epsilon=0.5)
    inputs = rng.normal(size=(1, 4, 3, 8)).astype("float32")
    assert_close(layer_outputs(layer, inputs), reference(layer, inputs, 4)[0])


def test_the_configuration_survives_a_round_trip():
    layer = GroupNorm(groups=4, epsilon=1e-3, name="norm")
    serialized = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(serialized)
    assert isinstance(copy, GroupNorm) and copy.get_config() == layer.get_config()
    assert (copy.groups, copy.epsilon, copy.name) == (4, 1e-3, "norm")


def test_a_group_count_that_is_no_positive_integer_is_refused():
    with pytest.raises(ValueError, match="`groups`.*Received: 0.*Expected"):
        GroupNorm(groups=0)

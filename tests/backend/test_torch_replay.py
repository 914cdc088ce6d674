"""Calls that PyTorch repeats from a list, beside the functions themselves."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_regvq.backend import sampling_steps
from keras_regvq.models import DiffusionPrior

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's own")
CALLS = 6


def replayed(function, inputs=None):
    """Outputs of CALLS calls of `Replayed`, of the function, and how often the first called it."""
    import torch

    from keras_regvq.backend.torch_replay import Replayed

    rng = np.random.default_rng(0)
    if inputs is None:
        inputs = [torch.from_numpy(rng.normal(size=(2, 4)).astype("float32")) for _ in range(CALLS)]
    called = []

    def counted(tensor):
        called.append(1)
        return function(tensor)

    with torch.no_grad():
        found = [call(tensor) for call in [Replayed(counted)] for tensor in inputs]
        count = len(called)
        return found, [function(tensor) for tensor in inputs], count


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def layers_of_many_kinds():
    attention = keras.layers.MultiHeadAttention(2, 4)
    inputs = keras.Input((4,))
    grid = keras.layers.Reshape((2, 2, 1))(keras.layers.Dense(4, activation="gelu")(inputs))
    features = keras.layers.Conv2D(4, 3, padding="same")(grid)
    features = keras.layers.GroupNormalization(2)(features)
    features = keras.layers.UpSampling2D()(features)
    rows = keras.layers.Reshape((16, 4))(features)
    rows = keras.layers.LayerNormalization()(attention(rows, rows) + rows)
    return keras.Model(inputs, keras.layers.Concatenate()([rows, -rows]))


def test_layers_are_called_twice_and_their_operations_each_time():
    model = layers_of_many_kinds()
    found, expected, count = replayed(lambda tensor: model(tensor))
    assert_equal(found, expected)
    assert count == 2
    assert not np.array_equal(found[-1].numpy(), found[-2].numpy())


def in_place(tensor):
    result = tensor * 2
    result.add_(1)
    result += tensor
    return result


def of_parts(tensor):
    import torch

    first, second = torch.split(tensor, 2, dim=1)
    values, indices = torch.topk(first, 1, dim=1)
    both = torch.cat([second, values], dim=1)
    return torch.nn.functional.pad(both, (0, 1), value=1.0)[:, indices.shape[1] :]


def drawn(tensor):
    return tensor + keras.ops.zeros_like(tensor) + ops.arange(4, dtype="float32")


@pytest.mark.parametrize("function", [in_place, of_parts, drawn])
def test_other_operations_are_repeated_too(function):
    found, expected, count = replayed(function)
    assert_equal(found, expected)
    assert count == 2


def by_sign(tensor):
    return tensor * 2 if tensor.sum() > 0 else tensor


def by_item(tensor):
    return tensor * tensor.max().item()


def by_numpy(tensor):
    import torch

    return tensor + torch.from_numpy(np.sort(tensor.numpy()))


def by_assignment(tensor):
    result = tensor * 2
    result[0] = 1.0
    return result


@pytest.mark.parametrize("function", [by_sign, by_item, by_numpy, by_assignment])
def test_what_looks_at_values_is_called_each_time(function):
    found, expected, count = replayed(function)
    assert_equal(found, expected)
    assert count == CALLS


def test_what_changes_by_itself_is_found_by_the_second_call():
    factors = iter([*range(1, CALLS + 1)] * 2)
    found, expected, count = replayed(lambda tensor: tensor * next(factors))
    assert_equal(found, expected)
    assert count == CALLS


def test_inputs_of_another_shape_or_type_are_not_replayed():
    import torch

    inputs = [torch.full((2,), 1.0)] * 4 + [torch.ones(3), torch.ones(2, dtype=torch.float64)]
    found, expected, count = replayed(lambda tensor: tensor.sum() / len(tensor), inputs)
    assert_equal(found, expected)
    assert found[-1].dtype == torch.float64 and count == 4


def test_the_check_waits_for_inputs_like_the_first():
    import torch

    inputs = [torch.full((size,), 1.0) for size in (2, 3, 2, 2)]
    factors = iter([1, 1, 2, 3] * 2)
    found, expected, count = replayed(lambda tensor: tensor * next(factors), inputs)
    assert_equal(found, expected)
    assert count == 4


def test_one_tensor_may_be_two_inputs():
    import torch

    from keras_regvq.backend.torch_replay import Replayed

    call = Replayed(lambda one, other: one * 2 + other)
    for value in range(4):
        tensor = torch.full((2,), float(value))
        assert call(tensor, tensor).tolist() == [3.0 * value] * 2


@pytest.mark.parametrize("process", ["discrete", "gaussian"])
def test_a_prior_draws_the_same_tokens(process, monkeypatch):
    width = {"embedding_dim": 6} if process == "gaussian" else {}
    prior = DiffusionPrior(16, (4, 4), process, channels=32, num_res_blocks=1, seed=0, **width)
    if width:
        prior.set_codebook(np.random.default_rng(0).normal(size=(16, 6)))
    calls = []
    unet = prior.unet.call
    monkeypatch.setattr(prior.unet, "call", lambda *a, **k: calls.append(1) or unet(*a, **k))
    drawn = prior.generate(num_samples=3, num_steps=10, seed=0)
    assert len(calls) == 2
    monkeypatch.setattr(sampling_steps, "_FEWEST_CALLS", 11)
    np.testing.assert_array_equal(prior.generate(num_samples=3, num_steps=10, seed=0), drawn)
    assert len(calls) == 12

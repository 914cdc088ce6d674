"""The products of a model are Keras's own, with fewer passes over the data."""

import keras
import numpy as np
import pytest

from keras_regvq.backend.fast_layers import use_fast_layers
from tests.gradients import BACKEND, assert_unchanged

Dense, Einsum = keras.layers.Dense, keras.layers.EinsumDense
LAYERS = {
    "dense": (Dense(6, activation="gelu", bias_initializer="uniform"), (3, 4)),
    "dense without bias": (Dense(6, use_bias=False), (3, 4)),
    "of heads": (
        Einsum("abc,cde->abde", (None, 2, 3), bias_axes="de", bias_initializer="uniform"),
        (3, 4),
    ),
    "from heads": (
        Einsum("abcd,cde->abe", (None, 6), bias_axes="e", bias_initializer="uniform"),
        (3, 2, 4),
    ),
    "any axes": (Einsum("...x,xy->...y", (3, 5)), (3, 4)),
    "a bias of one axis": (
        Einsum("abc,cde->abde", (None, 2, 3), bias_axes="e", bias_initializer="uniform"),
        (3, 4),
    ),
    "another product": (Einsum("abc,dc->abd", (None, 5)), (3, 4)),
    "a batch of kernels": (Einsum("abc,bcd->abd", (3, 5)), (3, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_values_and_gradients_are_those_of_the_layer_as_it_was(name, rng):
    layer, shape = LAYERS[name]
    model = keras.Sequential([keras.Input(shape), layer])
    features = rng.normal(size=(2, *shape)).astype("float32")
    assert_unchanged(model, features, use_fast_layers)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's own")
@pytest.mark.parametrize(
    "name, called",
    [("dense", 1), ("of heads", 1), ("from heads", 1), ("a bias of one axis", 0)],
)
def test_on_pytorch_the_bias_goes_with_the_product(name, called, rng, monkeypatch):
    import torch

    layer, shape = LAYERS[name]
    model = keras.Sequential([keras.Input(shape), layer])
    use_fast_layers(model)
    calls, product = [], torch.addmm
    monkeypatch.setattr(torch, "addmm", lambda *args: calls.append(1) or product(*args))
    model(rng.normal(size=(2, *shape)).astype("float32"))
    assert len(calls) == called


@pytest.mark.parametrize("name", ["dense", "of heads"])
def test_a_quantized_layer_and_one_with_an_adapter_are_so_still(name, rng):
    layer, shape = LAYERS[name]
    layer = type(layer).from_config(layer.get_config())
    model = keras.Sequential([keras.Input(shape), layer])
    use_fast_layers(model)
    features = rng.normal(size=(2, *shape)).astype("float32")
    plain = model(features)
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(rng.normal(size=layer.lora_kernel_b.shape))
    assert np.abs(keras.ops.convert_to_numpy(model(features) - plain)).max() > 0.01
    layer.lora_enabled = False
    layer.quantize("int8")
    error = np.abs(keras.ops.convert_to_numpy(model(features) - plain)).max()
    assert 0 < error < 0.1

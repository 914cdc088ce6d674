"""The convolutions of a trainer are Keras's own, however they are laid out in memory."""

import keras
import numpy as np
import pytest

from keras_regvq.backend.autodiff import convolve_without_copies
from tests.gradients import BACKEND, assert_close, layer_gradients
from tests.training.conftest import make_tokenizer, make_trainer

OPTIONS = [
    dict(padding="same"),
    dict(padding="same", strides=2),
    dict(padding="valid", strides=(1, 2)),
    dict(padding="same", dilation_rate=2, use_bias=False),
    dict(padding="same", groups=2, activation="relu"),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_values_and_gradients_are_those_of_the_layer_as_it_was(options, rng):
    layer = keras.layers.Conv2D(6, 3, **options)
    inputs = keras.Input((None, None, 4))
    model = keras.Model(inputs, layer(inputs))
    features = rng.normal(size=(2, 8, 7, 4)).astype("float32")

    def run():
        return layer_gradients(model, features, lambda y: keras.ops.sum(keras.ops.square(y)))

    before = run()
    convolve_without_copies(model)
    after = run()
    assert_close(after[0], before[0])
    assert set(after[2]) == set(before[2]) and len(after[2]) >= 2
    for name, gradient in before[2].items():
        assert np.abs(gradient).max() > 0.1
        assert_close(after[2][name], gradient, message=name)


@pytest.mark.skipif(BACKEND != "torch", reason="other backends have nothing to spare")
@pytest.mark.parametrize("name", ["conv_in", "down_0_block_0"])
def test_on_pytorch_a_trainers_convolutions_do_not_copy_their_input(name, monkeypatch):
    import torch

    convolve, received = torch.nn.functional.conv2d, []

    def recorded(inputs, *arguments, **options):
        received.append(inputs.data_ptr())
        return convolve(inputs, *arguments, **options)

    layer = make_trainer(tokenizer=make_tokenizer()).tokenizer.encoder.get_layer(name)
    layer = getattr(layer, "conv1", layer)  # also inside a block
    inputs = torch.ones(2, 16, 16, layer.kernel.shape[2])
    monkeypatch.setattr(torch.nn.functional, "conv2d", recorded)
    assert layer(inputs).shape == (2, 16, 16, layer.filters)
    assert received == [inputs.data_ptr()]


@pytest.mark.skipif(BACKEND != "torch", reason="other backends have nothing to spare")
def test_on_pytorch_a_frozen_kernel_is_laid_out_once_and_again_when_it_changes(rng):
    from keras_regvq.backend.autodiff import KernelInPyTorchsLayout

    layer = keras.layers.Conv2D(6, 3, trainable=False)
    layer.build((None, 8, 8, 4))
    laid_out, kernel = KernelInPyTorchsLayout(), keras.ops.convert_to_tensor(layer.kernel)
    first = laid_out(kernel)
    assert laid_out(kernel) is first
    layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    changed = laid_out(keras.ops.convert_to_tensor(layer.kernel))
    np.testing.assert_array_equal(changed.permute(2, 3, 1, 0), layer.kernel.numpy())
    layer.trainable = True
    kernel = keras.ops.convert_to_tensor(layer.kernel)
    assert laid_out(kernel) is not laid_out(kernel)

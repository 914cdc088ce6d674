"""The convolutions of a trainer are Keras's own, however they are laid out in memory."""

import keras
import numpy as np
import pytest

from keras_regvq.backend.fast_layers import use_fast_layers
from tests.gradients import BACKEND, assert_close, assert_unchanged
from tests.training.conftest import make_tokenizer, make_trainer

OPTIONS = [
    dict(padding="same"),
    dict(padding="same", strides=2),
    dict(padding="valid", strides=(1, 2)),
    dict(padding="same", dilation_rate=2, use_bias=False),
    dict(padding="same", groups=2, activation="relu"),
    dict(padding="same", kernel_size=(4, 3)),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_values_and_gradients_are_those_of_the_layer_as_it_was(options, rng):
    layer = keras.layers.Conv2D(6, **{"kernel_size": 3, **options})
    inputs = keras.Input((None, None, 4))
    model = keras.Model(inputs, layer(inputs))
    features = rng.normal(size=(2, 8, 7, 4)).astype("float32")
    assert_unchanged(model, features, use_fast_layers)


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
    from keras_regvq.backend.torch_convolution import KernelInPyTorchsLayout

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


@pytest.mark.skipif(BACKEND != "torch", reason="other backends have nothing to spare")
def test_on_pytorch_all_kernels_are_laid_out_once_where_weights_are_fixed_and_then_let_go():
    import torch

    from keras_regvq.backend.torch_convolution import KernelInPyTorchsLayout, fixed_weights

    laid_out, kernel = KernelInPyTorchsLayout(), torch.zeros(3, 3, 4, 6, requires_grad=True)
    with torch.no_grad():
        with fixed_weights():
            first = laid_out(kernel)
            assert laid_out(kernel) is first
            assert KernelInPyTorchsLayout()(kernel) is not first
            with torch.enable_grad():
                assert laid_out(kernel).requires_grad
        kernel.data += 1  # PyTorch does not count this as a change
        assert laid_out(kernel).min() == 1
        assert laid_out(kernel) is not laid_out(kernel)
        with fixed_weights():
            assert laid_out(kernel).min() == 1
    with torch.inference_mode(), fixed_weights():  # where tensors have no version
        assert laid_out(kernel * 1).shape == (6, 4, 3, 3)


@pytest.mark.skipif(BACKEND != "jax", reason="a way of writing it for JAX")
@pytest.mark.parametrize("shape", [(3, 6, 5, 8), (1, 7, 6, 3)])
def test_on_jax_a_convolution_by_products_is_xlas(shape, rng, monkeypatch):
    """In several pieces, of images or of rows."""
    import jax
    from jax import lax

    from keras_regvq.backend import bfloat16_convolution as module

    monkeypatch.setattr(module, "MOST_POSITIONS", 30 if shape[0] > 1 else 14)

    def by_xla(inputs, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(inputs, kernel, (1, 1), "SAME", dimension_numbers=layout)

    inputs = rng.normal(size=shape).astype("float32")
    kernel = rng.normal(size=(3, 3, shape[-1], 4)).astype("float32")
    upstream = rng.normal(size=(*shape[:3], 4)).astype("float32")
    results = []
    for function in (module.convolve_3x3, by_xla):
        outputs, back = jax.vjp(function, inputs, kernel)
        results.append((outputs, *back(upstream)))
    for ours, theirs in zip(*results, strict=True):
        assert_close(ours, theirs)


@pytest.mark.skipif(BACKEND != "jax", reason="a way of writing it for JAX")
def test_on_jax_only_wide_convolutions_in_half_precision_are_written_so(monkeypatch, rng):
    """And those whose sizes are known, in not too many pieces."""
    from keras_regvq.backend import bfloat16_convolution as module

    calls = []
    convolve = module.convolve_3x3
    monkeypatch.setattr(module, "has_matrix_units", lambda: True)
    monkeypatch.setattr(module, "convolve_3x3", lambda *a: calls.append(1) or convolve(*a))
    for width, dtype, expected in ((64, "mixed_bfloat16", 1), (8, "mixed_bfloat16", 0),
                                   (64, "float32", 0)):  # fmt: skip
        inputs = keras.Input((4, 4, width))
        layer = keras.layers.Conv2D(64, 3, padding="same", dtype=dtype)
        model = keras.Model(inputs, layer(inputs))
        features = rng.normal(size=(1, 4, 4, width)).astype("float32")
        before = keras.ops.convert_to_numpy(keras.ops.cast(model(features), "float32"))
        use_fast_layers(model)
        calls.clear()
        after = keras.ops.convert_to_numpy(keras.ops.cast(model(features), "float32"))
        assert len(calls) == expected
        np.testing.assert_allclose(after, before, atol=0.02)

    import jax

    layer = keras.layers.Conv2D(64, 3, padding="same", dtype="bfloat16")
    layer.build((None, 4, 4, 64))
    module.make_fast(layer)
    calls.clear()
    images = jax.export.symbolic_shape("b, 4, 4, 64")
    jax.export.export(jax.jit(layer))(jax.ShapeDtypeStruct(images, "bfloat16"))
    monkeypatch.setattr(module, "MOST_POSITIONS", 16)  # an image is a piece
    layer(np.zeros((17, 4, 4, 64)))
    assert not calls
    layer(np.zeros((16, 4, 4, 64)))
    assert len(calls) == 1

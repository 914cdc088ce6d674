import keras
import numpy as np
import pytest
from keras import ops

from keras_regvq.models.priors.diffusion.unet import TimeEmbedding, UNet
from tests.models.priors.tiny_prior import randomize


def make_unet(shape=(5, 6), context=(3, 12), **options):
    settings = {"channels": 8, "channel_multipliers": (1, 2), "num_res_blocks": 1, "num_heads": 2}
    unet = UNet(**settings | options)
    unet.build((None, *shape, 8), context and (None, *context))
    return randomize(unet)


def run(unet, *arrays, **options):
    outputs = unet(*map(ops.convert_to_tensor, arrays), **options)
    return ops.convert_to_numpy(outputs)


@pytest.fixture
def inputs(rng):
    images = rng.standard_normal((2, 5, 6, 8)).astype("float32")
    return images, np.float32([0.2, 0.9]), rng.standard_normal((2, 3, 12)).astype("float32")


def test_outputs_have_the_grid_of_the_inputs_and_depend_on_time_and_context(inputs):
    unet = make_unet()
    first = run(unet, *inputs)
    assert first.shape == (2, 5, 6, 8) and np.isfinite(first).all()
    images, times, context = inputs
    assert np.abs(run(unet, images, times[::-1].copy(), context) - first).max() > 1e-3
    assert np.abs(run(unet, images, times, context[::-1].copy()) - first).max() > 1e-3


def test_an_example_does_not_see_the_others(inputs):
    unet = make_unet()
    both = run(unet, *inputs)
    for index in range(2):
        alone = run(unet, *(array[index : index + 1] for array in inputs))
        np.testing.assert_allclose(alone[0], both[index], atol=2e-5)


def test_what_the_mask_hides_of_the_context_has_no_effect(inputs):
    unet, (images, times, context) = make_unet(), inputs
    mask = ops.convert_to_tensor(np.array([[True, True, False]] * 2))
    hidden = context.copy()
    hidden[:, 2] = 7.0
    first = run(unet, images, times, context, padding_mask=mask)
    np.testing.assert_allclose(
        run(unet, images, times, hidden, padding_mask=mask), first, atol=1e-5
    )
    assert np.abs(run(unet, images, times, hidden) - first).max() > 1e-3
    short = run(unet, images, times, context[:, :2])
    np.testing.assert_allclose(short, first, atol=2e-5)


def test_a_fresh_network_is_a_convolution_and_its_fresh_blocks_add_nothing(rng):
    unet = UNet(8, (1, 2), 1, (), 2)
    unet.build((None, 4, 6, 8))
    images = rng.standard_normal((2, 4, 6, 8)).astype("float32")
    x = ops.convert_to_tensor(images)
    expected = ops.convert_to_numpy(ops.silu(unet.norm(unet.conv_in(x))))
    np.testing.assert_allclose(run(unet, images, np.float32([0.1, 0.9])), expected, atol=1e-6)
    time = ops.convert_to_tensor(rng.standard_normal((2, 32)).astype("float32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(unet.down[0](x, time)), images)


def test_times_are_embedded_as_sines_and_cosines():
    layer = TimeEmbedding(6, 6)
    layer.build()
    layer.hidden.activation = keras.activations.linear
    for part in (layer.hidden, layer.out):
        part.kernel.assign(np.eye(6))
    waves = run(layer, np.float32([0.0, 0.37]))
    angles = 370 * 10_000.0 ** (-np.arange(3) / 3)
    expected = [[0, 0, 0, 1, 1, 1], [*np.sin(angles), *np.cos(angles)]]
    np.testing.assert_allclose(waves, expected, atol=1e-4)

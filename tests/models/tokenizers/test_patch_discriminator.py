import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.plain_torch import vgg_and_patchgan as plain_networks  # noqa: E402
from benchmarks.plain_torch.port_weights import copy_weights, discriminator_names  # noqa: E402
from keras_regvq.models import PatchDiscriminator  # noqa: E402


@pytest.fixture(scope="module")
def pair():
    """A PatchDiscriminator and the plain PyTorch one (float64) with its weights."""
    torch.manual_seed(0)
    plain = plain_networks.PatchDiscriminator(base_channels=6, num_layers=2)
    for block in plain.main:
        if isinstance(block, torch.nn.GroupNorm):  # starts as ones and zeros
            torch.nn.init.normal_(block.weight, 1.0, 0.3)
            torch.nn.init.normal_(block.bias, 0.0, 0.3)
    torch.nn.init.normal_(plain.main[-1].weight, 0.0, 0.5)
    discriminator = PatchDiscriminator(base_channels=6, num_layers=2)
    names = discriminator_names(plain, discriminator)
    assert len(names) == len(discriminator.trainable_variables)
    copy_weights(plain, names)
    return discriminator, plain.double()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(5).random((3, 24, 32, 3), dtype="float32")


def test_logits_equal_plain_pytorchs(pair, images):
    discriminator, plain = pair
    with torch.no_grad():
        expected = plain(torch.from_numpy(images).double().permute(0, 3, 1, 2) * 2 - 1)
    logits = discriminator.predict(images, verbose=0)
    np.testing.assert_allclose(logits, expected.permute(0, 2, 3, 1), atol=2e-5)
    # Raw scores: a sigmoid in front of a hinge loss would keep them in (0, 1).
    assert logits.min() < -0.5 and logits.max() > 1.5


def test_the_default_judges_256_pixels_in_30_by_30_patches():
    discriminator = PatchDiscriminator()
    assert tuple(discriminator.compute_output_shape((1, 256, 256, 3))) == (1, 30, 30, 1)
    with torch.device("meta"):
        plain = plain_networks.PatchDiscriminator()
    assert discriminator.count_params() == sum(p.numel() for p in plain.parameters())
    channels = [discriminator.get_layer(f"conv_{i}").filters for i in range(4)]
    assert channels == [64, 128, 256, 512]


def test_an_images_logits_do_not_depend_on_the_rest_of_its_batch(pair, images):
    discriminator = pair[0]
    expected = {}
    for training in (False, True):
        logits = discriminator(keras.ops.convert_to_tensor(images), training=training)
        expected[training] = keras.ops.convert_to_numpy(keras.ops.stop_gradient(logits)).copy()
    np.testing.assert_array_equal(expected[True], expected[False])
    # Batches of one size, so that no backend sums in another order.
    for index in range(3):
        others = 1 - images[::-1]
        others[index] = images[index]
        batch = keras.ops.convert_to_tensor(others)
        for training in (False, True):
            logits = keras.ops.stop_gradient(discriminator(batch, training=training))
            logits = keras.ops.convert_to_numpy(logits)
            np.testing.assert_allclose(logits[index], expected[training][index], atol=1e-5)
        assert np.abs(logits - expected[True]).max() > 0.1, "the others did change"

    assert not discriminator.non_trainable_variables  # there are no running statistics


def test_the_config_gives_the_same_discriminator_back():
    discriminator = PatchDiscriminator(4, 1, dtype="bfloat16", name="judge")
    config = keras.saving.serialize_keras_object(discriminator)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == discriminator.get_config()
    assert copy.name == "judge"
    assert [w.shape for w in copy.weights] == [w.shape for w in discriminator.weights]
    assert copy.get_layer("conv_0").compute_dtype == "bfloat16"
    assert copy.get_layer("conv_out").compute_dtype == "float32"


@pytest.mark.parametrize(
    "argument, options",
    [("base_channels", {"base_channels": 0}), ("num_layers", {"num_layers": 1.5})],
)
def test_wrong_arguments_are_refused_by_name(argument, options):
    with pytest.raises(ValueError, match=f"`{argument}`.*Received: .*Expected: "):
        PatchDiscriminator(**options)


def test_images_that_are_too_small_are_refused_and_the_smallest_are_not():
    discriminator = PatchDiscriminator(4, 2)
    assert discriminator(np.zeros((1, 12, 12, 3), "float32")).shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match="`images`.*at least 12"):
        discriminator(np.zeros((1, 12, 8, 3), "float32"))

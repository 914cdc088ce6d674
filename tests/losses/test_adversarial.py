"""Hinge losses of both players against the PyTorch reference."""

import numpy as np
import torch

from benchmarks.plain_torch import losses as plain
from keras_regvq.losses import hinge_discriminator_loss, hinge_generator_loss
from tests.gradients import assert_close, value_and_gradients


def torch_value_and_gradients(function, *arrays):
    tensors = [torch.tensor(array).double().requires_grad_() for array in arrays]
    value = function(*tensors)
    return value.item(), [gradient.numpy() for gradient in torch.autograd.grad(value, tensors)]


def test_both_players_losses_equal_the_reference(rng):
    real = (2 * rng.normal(size=(2, 3, 4, 1))).astype("float32")
    fake = (2 * rng.normal(size=(3, 2, 4, 1))).astype("float32")
    for ours, reference, arrays in [
        (hinge_discriminator_loss, plain.hinge_discriminator_loss, (real, fake)),
        (hinge_generator_loss, plain.hinge_generator_loss, (fake,)),
    ]:
        expected, expected_gradients = torch_value_and_gradients(reference, *arrays)
        value, gradients = value_and_gradients(ours, *arrays)
        assert_close(value, expected)
        for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
            assert_close(gradient, expected_gradient)


def test_the_real_logits_come_first():
    """Swapped arguments are a known defect of other systems: the discriminator learns nothing."""
    real, fake = np.array([2.0, 0.5], "float32"), np.array([-3.0, 0.0], "float32")
    # real: 0 and 0.5; fake: 0 and 1
    assert_close(hinge_discriminator_loss(real, fake), 0.5 * (0.25 + 0.5))
    # and the other way round, fake as real: 4 and 1; real as fake: 3 and 1.5
    assert_close(hinge_discriminator_loss(fake, real), 0.5 * (2.5 + 2.25))


def test_the_logits_are_raw_scores():
    """A sigmoid in front of the hinge bounds both losses; these are linear."""
    large = np.array([50.0], "float32")
    assert_close(hinge_discriminator_loss(-large, large), 51.0)
    assert_close(hinge_generator_loss(large), -50.0)
    assert_close(hinge_generator_loss(-large), 50.0)
    assert float(hinge_discriminator_loss(large, -large)) == 0.0


def test_the_generator_and_the_discriminator_pull_in_opposite_directions():
    fake = np.array([0.2, -0.4], "float32")
    _, (up,) = value_and_gradients(hinge_generator_loss, fake)
    _, (_, down) = value_and_gradients(hinge_discriminator_loss, fake, fake)
    assert (up < 0).all() and (down > 0).all()

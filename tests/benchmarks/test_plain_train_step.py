"""The plain-PyTorch peer's training step of two players.

It is the reference of other tests, so nothing here may come from `keras_regvq`.
"""

import copy
import math

import numpy as np
import pytest

from tests.benchmarks.plain_numbers import TINY, randn

torch = pytest.importorskip("torch")

from benchmarks.plain_torch import losses  # noqa: E402
from benchmarks.plain_torch.quantizers import (  # noqa: E402
    RegularizedQuantizer,
    VectorQuantizer,
)
from benchmarks.plain_torch.train_step import PlainTrainer  # noqa: E402
from benchmarks.plain_torch.vgg_and_patchgan import PatchDiscriminator, VGG19Features  # noqa: E402
from benchmarks.plain_torch.vqgan import (  # noqa: E402
    VQGAN,
)


def make_trainer(**options):
    model = VQGAN(RegularizedQuantizer(5, 4), embed_dim=4, **TINY)
    discriminator = PatchDiscriminator(base_channels=4, num_layers=1)
    features = VGG19Features(channels=(2, 3, 4, 4, 4))
    options = {"learning_rate": 1e-3, "contrastive_weight": 0.5, **options}
    return PlainTrainer(model, discriminator, features, **options)


def test_both_players_gradients_belong_to_the_weights_before_the_step():
    trainer = make_trainer()
    for module in (trainer.model, trainer.discriminator, trainer.features):
        module.double()
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    noise, mask = 3 * randn(2, 64, 5), torch.rand(2, 8, 8) < 0.5
    positions = [torch.randperm(side * side)[:20] for side in (16, 8, 4, 2, 1)]
    before = copy.deepcopy(trainer)
    logs = trainer.step(images, ramp=0.3, positions=positions, noise=noise, mask=mask)

    # The same by the chain rule through the reconstruction, on the weights from before the step.
    fake, quantized = before.model(2 * images - 1, noise=noise, mask=mask)
    leaf = fake.detach().requires_grad_()
    l1 = (images - (leaf + 1) / 2).abs().mean()
    original, reconstructed = before.features(images), before.features((leaf + 1) / 2)
    perceptual = losses.perceptual_loss(original, reconstructed)
    contrastive = 0.0
    for y, z, chosen in zip(original, reconstructed, positions, strict=True):
        side = y.shape[-1]
        centre = [int((k + 0.5) * 8 / side) for k in range(side)]
        weights = quantized["perturbation"][:, centre][:, :, centre].flatten(1)[:, chosen]
        rows = (x.flatten(2)[..., chosen].transpose(1, 2) for x in (y, z))
        contrastive += losses.probabilistic_contrastive_loss(*rows, weights) / 5
    reconstruction = l1 + perceptual + 0.5 * contrastive
    (to_image,) = torch.autograd.grad(reconstruction, leaf)
    leaf_again = leaf.detach().requires_grad_()
    (gan_to_image,) = torch.autograd.grad(-before.discriminator(leaf_again).mean(), leaf_again)
    last = before.model.decoder.conv_out.weight
    norms = [
        torch.autograd.grad(fake, last, g, retain_graph=True)[0].norm()
        for g in (to_image, gan_to_image)
    ]
    weight = norms[0] / (norms[1] + 1e-4)
    surrogate = ((to_image + 0.3 * 0.8 * weight * gan_to_image) * fake).sum()
    parameters = list(before.model.parameters())
    expected = torch.autograd.grad(surrogate + quantized["losses"]["prior"], parameters)
    for parameter, gradient in zip(trainer.model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-11)
    disc_loss = losses.hinge_discriminator_loss(
        before.discriminator(2 * images - 1), before.discriminator(leaf.detach())
    )
    expected = torch.autograd.grad(disc_loss, list(before.discriminator.parameters()))
    for parameter, gradient in zip(trainer.discriminator.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-11)

    assert contrastive > 0
    for name, value in {
        "l1": l1,
        "perceptual": perceptual,
        "contrastive": contrastive,
        "reconstruction": reconstruction,
        "adaptive_weight": weight,
        "discriminator": disc_loss,
        "prior": quantized["losses"]["prior"],
    }.items():
        np.testing.assert_allclose(logs[name], value.item(), rtol=1e-5, err_msg=name)


def test_adam_moves_every_weight_by_the_learning_rate_at_first():
    trainer = make_trainer()
    before = copy.deepcopy(trainer)
    trainer.step(torch.rand(2, 3, 16, 16))
    for name in ("model", "discriminator"):
        pairs = zip(
            getattr(trainer, name).parameters(), getattr(before, name).parameters(), strict=True
        )
        for new, old in pairs:
            moved = (new - old).abs()[new.grad.abs() > 1e-5]
            torch.testing.assert_close(moved, torch.full_like(moved, 1e-3), rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("options", [{"fresh_forward": True}, {"bf16": True}])
def test_options_train_both_players(options):
    trainer = make_trainer(**options)
    before = copy.deepcopy(trainer)
    logs = trainer.step(torch.rand(2, 3, 16, 16))
    assert all(math.isfinite(value) for value in logs.values())
    for name in ("model", "discriminator"):
        new, old = (next(getattr(t, name).parameters()) for t in (trainer, before))
        assert not torch.equal(new, old)
        # Autocast's weight cache can silently detach a weight that was first cast without grad.
        assert all(weight.grad is not None for weight in getattr(trainer, name).parameters())


def test_reconstruction_alone_needs_no_other_network():
    model = VQGAN(VectorQuantizer(5, 4), embed_dim=4, **TINY)
    trainer = PlainTrainer(model, learning_rate=2e-3)
    images = torch.rand(4, 3, 16, 16)
    history = [trainer.step(images) for _ in range(15)]
    assert set(history[0]) == {"reconstruction", "l1", "codebook", "commitment", "total"}
    assert history[-1]["l1"] < 0.9 * history[0]["l1"]

"""The VQ-GAN training step as it is usually written: two optimizers, and an adaptive adversarial
weight from two extra backward passes through the loss networks."""

import torch
from torch.nn import functional as F

from benchmarks.plain_torch.losses import (
    contrastive_loss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    perceptual_loss,
    probabilistic_contrastive_loss,
)


class PlainTrainer:
    """Trains a `VQGAN` against a `PatchDiscriminator`, one batch a `step`.

        L_rec   = l1_weight * mean |x - x_hat| + perceptual_weight * perceptual
                  + contrastive_weight * mean over layers of (P)CL         (x, x_hat in [0, 1])
        lambda  = clip(|| dL_rec / dW || / (|| dL_gan / dW || + 1e-4), 0, 1e4)
        L       = L_rec + ramp * adversarial_weight * lambda * L_gan + quantizer losses
        L_disc  = hinge on x and stop_gradient(x_hat)

    where W is `decoder.conv_out.weight`.

    Args:
        model: a `VQGAN`.
        discriminator: a `PatchDiscriminator`, or None for no adversarial term.
        features: a `VGG19Features`, or None for no perceptual and no contrastive term.
        learning_rate: of both Adam(0.5, 0.9) optimizers.
        contrastive: "probabilistic" (weighted by the quantizer's perturbation) or "plain".
        max_positions: the most positions a layer that the contrastive term compares.
        fresh_forward: False updates both players from one forward pass and from the weights before
            the step. True updates the generator first and gives the discriminator a second forward
            pass, with new random draws, as a two-optimizer Lightning module does.
        bf16: run the networks under `torch.autocast` in bfloat16; losses stay in the images' dtype.
        adam_epsilon: Adam's epsilon.

    After `step`, the `.grad` fields hold the gradients that were applied.
    """

    def __init__(
        self,
        model,
        discriminator=None,
        features=None,
        *,
        learning_rate=4.5e-6,
        l1_weight=1.0,
        perceptual_weight=1.0,
        contrastive_weight=0.0,
        contrastive="probabilistic",
        adversarial_weight=0.8,
        temperature=0.07,
        max_positions=256,
        fresh_forward=False,
        bf16=False,
        adam_epsilon=1e-8,
    ):
        if contrastive not in ("probabilistic", "plain"):
            raise ValueError(f'contrastive must be "probabilistic" or "plain", got {contrastive!r}')
        self.model, self.discriminator, self.features = model, discriminator, features
        self.l1_weight = l1_weight
        self.perceptual_weight = perceptual_weight
        self.contrastive_weight = contrastive_weight
        self.contrastive = contrastive
        self.adversarial_weight = adversarial_weight
        self.temperature = temperature
        self.max_positions = max_positions
        self.fresh_forward = fresh_forward
        self.bf16 = bf16
        adam = dict(lr=learning_rate, betas=(0.5, 0.9), eps=adam_epsilon)
        self.optimizer = torch.optim.Adam(model.parameters(), **adam)
        if discriminator is not None:
            self.discriminator_optimizer = torch.optim.Adam(discriminator.parameters(), **adam)

    def step(self, images, ramp=1.0, positions=None, **quantizer_inputs):
        """One update of both players.

        Args:
            images: (B, 3, H, W) in [0, 1].
            ramp: factor on the adversarial weight, 0 during the discriminator's warm-up.
            positions: for each feature layer an integer tensor (K,) or (B, K) of indices into the
                layer's flattened grid, in place of random ones.
            quantizer_inputs: `noise` and `mask`, for the quantizers that take them.

        Returns:
            The logged values as floats: "total", "reconstruction" (L_rec), and unweighted "l1",
            "perceptual", "contrastive", "adversarial" and "discriminator", then "adaptive_weight"
            (lambda) and the quantizer's losses by name; those whose term is off are absent.
        """
        real = 2 * images - 1
        self.optimizer.zero_grad()
        with self._precision(images):
            fake, quantized = self.model(real, **quantizer_inputs)
        fake = fake.to(images.dtype)
        logs = self._reconstruction(images, (fake + 1) / 2, quantized["perturbation"], positions)
        total = logs["reconstruction"] + sum(quantized["losses"].values())
        if self.discriminator is not None:
            adversarial, weight = self._adversarial(fake, logs["reconstruction"])
            logs.update(adversarial=adversarial, adaptive_weight=weight)
            total = total + ramp * self.adversarial_weight * weight * adversarial
        total.backward()
        logs.update(quantized["losses"], total=total)

        if self.discriminator is not None and not self.fresh_forward:
            # Before either player moves: both gradients belong to the same weights.
            logs["discriminator"] = self._discriminator_backward(real, fake)
        self.optimizer.step()
        if self.discriminator is not None and self.fresh_forward:
            with torch.no_grad(), self._precision(images):
                fake, _ = self.model(real, **quantizer_inputs)
            logs["discriminator"] = self._discriminator_backward(real, fake.to(images.dtype))
        if self.discriminator is not None:
            self.discriminator_optimizer.step()
        # One transfer, hence one wait for the device, however many values are logged.
        values = torch.stack([value.detach().float() for value in logs.values()]).tolist()
        return dict(zip(logs, values, strict=True))

    def _precision(self, images):
        return torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16)

    def _reconstruction(self, images, reconstructed, perturbation, positions):
        logs = {"l1": (images - reconstructed).abs().mean()}
        total = self.l1_weight * logs["l1"]
        if self.features is not None and (self.perceptual_weight or self.contrastive_weight):
            with self._precision(images):
                with torch.no_grad():
                    original_features = self.features(images)
                reconstructed_features = self.features(reconstructed)
            pair = original_features, reconstructed_features
            logs["perceptual"] = perceptual_loss(*pair)
            total = total + self.perceptual_weight * logs["perceptual"]
            if self.contrastive_weight:
                logs["contrastive"] = self._contrastive(*pair, perturbation, positions)
                total = total + self.contrastive_weight * logs["contrastive"]
        return {"reconstruction": total, **logs}

    def _contrastive(self, original_features, reconstructed_features, perturbation, positions):
        losses = []
        for layer, maps in enumerate(zip(original_features, reconstructed_features, strict=True)):
            height, width = maps[0].shape[2:]
            if positions is None:
                order = torch.randperm(height * width, device=perturbation.device)
                chosen = order[: self.max_positions]
            else:
                chosen = positions[layer]
            chosen = chosen.expand(perturbation.shape[0], -1)  # (B, K)
            original, reconstructed = (
                maps_of.flatten(2).gather(2, chosen[:, None].expand(-1, maps_of.shape[1], -1))
                for maps_of in maps
            )
            pair = original.transpose(1, 2), reconstructed.transpose(1, 2)
            if self.contrastive == "plain":
                losses.append(contrastive_loss(*pair, self.temperature))
                continue
            # When it shrinks, PyTorch's "nearest" takes a corner's value; this takes the centre's.
            weights = F.interpolate(perturbation[:, None], (height, width), mode="nearest-exact")
            weights = weights.flatten(1).gather(1, chosen)
            losses.append(probabilistic_contrastive_loss(*pair, weights, self.temperature))
        return torch.stack(losses).mean()

    def _adversarial(self, fake, reconstruction_loss):
        # The gradient goes through the discriminator to the image; its own weights need none here.
        self.discriminator.requires_grad_(False)
        with self._precision(fake):
            logits = self.discriminator(fake)
        self.discriminator.requires_grad_(True)
        loss = hinge_generator_loss(logits.to(fake.dtype))
        last = self.model.decoder.conv_out.weight
        norms = [
            torch.autograd.grad(value, last, retain_graph=True)[0].norm()
            for value in (reconstruction_loss, loss)
        ]
        return loss, (norms[0] / (norms[1] + 1e-4)).clamp(0.0, 1e4)

    def _discriminator_backward(self, real, fake):
        self.discriminator_optimizer.zero_grad()
        with self._precision(real):
            real_logits, fake_logits = self.discriminator(real), self.discriminator(fake.detach())
        loss = hinge_discriminator_loss(real_logits.to(real.dtype), fake_logits.to(real.dtype))
        loss.backward()
        return loss

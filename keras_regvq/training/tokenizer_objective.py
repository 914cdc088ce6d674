"""What a tokenizer's training step minimizes, for both players at once."""

from keras import ops

from keras_regvq.backend.autodiff import losses_and_gradient
from keras_regvq.losses import hinge_discriminator_loss, hinge_generator_loss
from keras_regvq.training.adversarial.adaptive_weight import adaptive_weight
from keras_regvq.training.adversarial.surrogate import surrogate


class TokenizerObjective:
    """L1 + perceptual + contrastive + the quantizer's losses + lambda * adversarial.

    The discriminator's hinge loss on the detached reconstruction is added, so that one backward
    pass serves both players. Esser et al. (2021), with Reg-VQ's terms (arXiv 2303.06424).

    Args:
        tokenizer: the ImageTokenizer.
        discriminator: maps images in [0, 1] to logits, or None.
        feature_losses: a FeatureLosses, or None.
        l1_weight: factor of the mean absolute difference of images in [0, 1].
        adversarial_weight: factor of the adaptive weight.
        discriminator_start: steps before the discriminator counts.
        discriminator_ramp: steps until it counts fully.
    """

    def __init__(
        self,
        tokenizer,
        discriminator,
        feature_losses,
        l1_weight,
        adversarial_weight,
        discriminator_start,
        discriminator_ramp,
    ):
        self.tokenizer = tokenizer
        self.discriminator = discriminator
        self.feature_losses = feature_losses
        self.l1_weight = l1_weight
        self.adversarial_weight = adversarial_weight
        self.discriminator_start = discriminator_start
        self.discriminator_ramp = discriminator_ramp

    @property
    def logged(self):
        """Names of what a call returns beside the total."""
        names = ["l1", *self.tokenizer.quantizer.loss_names]
        if self.feature_losses:
            names += ["perceptual"] * (self.feature_losses.perceptual_weight > 0)
            names += ["contrastive"] * (self.feature_losses.contrastive is not None)
        if self.discriminator is not None:
            names += ["generator", "discriminator", "adaptive_weight"]
        return names

    def __call__(self, outputs, step, training):
        """The objective of one batch.

        Args:
            outputs: what `TokenizerTrainer.call` returns.
            step: how many steps there were before.
            training: whether the discriminator is training.

        Returns:
            a scalar to differentiate, and {name: scalar}: the weighted losses, which add up to
            it, and the adaptive weight.
        """
        originals, decoded = outputs["originals"], outputs["decoded"]
        losses = {name: ops.squeeze(v) for name, v in outputs["losses"].items()}
        total = sum(losses.values())

        terms, gradient = losses_and_gradient(
            self._reconstruction_losses(outputs, training), decoded
        )
        losses.update(terms)
        value = sum(terms.values())
        if self.discriminator is not None:
            adversarial, generator_gradient = losses_and_gradient(self._generator_loss, decoded)
            kernel = self.tokenizer.decoder.get_layer("conv_out").kernel
            weight = adaptive_weight(outputs["hidden"], kernel, gradient, generator_gradient)
            scale = self.adversarial_weight * self._ramp(step) * weight
            losses["generator"] = scale * adversarial["generator"]
            losses["discriminator"] = hinge_discriminator_loss(
                self.discriminator(originals, training=training),
                self.discriminator(ops.stop_gradient(unit_range(decoded)), training=training),
            )
            losses["adaptive_weight"] = weight
            gradient = gradient + scale * generator_gradient
            value = value + losses["generator"]
            total = total + losses["discriminator"]
        return total + surrogate(value, gradient, decoded), losses

    def _reconstruction_losses(self, outputs, training):
        """The function decoded -> {name: weighted loss} of this batch."""
        originals = outputs["originals"]
        prepared = self.feature_losses and self.feature_losses.prepare(
            originals, outputs["perturbation"], training
        )

        def reconstruction_losses(decoded):
            images = unit_range(decoded)
            difference = ops.mean(ops.abs(originals - images))
            losses = {"l1": self.l1_weight * difference}
            if self.feature_losses:
                losses.update(self.feature_losses(images, prepared))
            return losses

        return reconstruction_losses

    def _generator_loss(self, decoded):
        logits = self.discriminator(unit_range(decoded), training=False)
        return {"generator": hinge_generator_loss(logits)}

    def _ramp(self, step):
        """0 before `discriminator_start`, 1 after another `discriminator_ramp` steps."""
        past = ops.cast(step - self.discriminator_start, "float32")
        return ops.clip((past + 1.0) / max(self.discriminator_ramp, 1), 0.0, 1.0)


def unit_range(decoded):
    """[-1, 1] -> [0, 1], not clipped: a clipped pixel would have no gradient."""
    return (decoded + 1.0) / 2.0

"""Loss terms as pure functions of tensors."""

from keras_regvq.losses.adversarial import hinge_discriminator_loss, hinge_generator_loss
from keras_regvq.losses.contrastive import contrastive_loss, probabilistic_contrastive_loss
from keras_regvq.losses.perceptual import perceptual_loss
from keras_regvq.losses.prior import kl_to_uniform

__all__ = [
    "contrastive_loss",
    "hinge_discriminator_loss",
    "hinge_generator_loss",
    "kl_to_uniform",
    "perceptual_loss",
    "probabilistic_contrastive_loss",
]

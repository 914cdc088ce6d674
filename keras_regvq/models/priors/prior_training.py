"""What training a token prior takes, alone or inside an end-to-end model."""

import keras
from keras import ops

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.checks.checked_model import CheckedModel


class TrainsPrior(CheckedModel):
    """Mixin for a keras.Model that trains a prior: optimizer, logged losses, checks of its data.

    A subclass has `token_losses(inputs, outputs)`, which gives the scalars of a batch by name:
    "loss" is minimized, all others are logged; and `check_inputs(argument, inputs)`.
    """

    expected_inputs = "a dict of arrays, or a dataset of such dicts"

    def create_trackers(self, names):
        """Log the means of the losses of these names, besides Keras's own of "loss"."""
        self.loss_trackers = {name: keras.metrics.Mean(name, dtype="float32") for name in names}

    def compile(self, optimizer=None, **kwargs):
        """Configure training.

        Args:
            optimizer: a keras Optimizer; default `prior_training.prior_optimizer`'s AdamW. Weight
                decay applies to the layers' matrices alone. With `use_ema=True` the weights are
                their averages once `fit` is over.
            **kwargs: of `keras.Model.compile`, but losses and metrics, which the prior has.
        """
        super().compile(optimizer=prior_optimizer(optimizer, self.trainable_variables), **kwargs)

    def batch_loss(self, inputs, outputs, training):
        """The prior's loss, in nats where it is a likelihood; all its terms are logged by name."""
        losses = self.token_losses(inputs, outputs)
        logged = {name: losses[name] for name in self.loss_trackers}
        self.log_means(self.loss_trackers, logged, inputs)
        return losses["loss"]

    def select_inputs(self, argument, batch):
        if not isinstance(batch, dict):
            refuse(argument, describe(batch), self.expected_inputs)
        return batch


def prior_optimizer(optimizer, variables):
    """The optimizer to compile with, its weight decay limited to the layers' matrices.

    Args:
        optimizer: a keras Optimizer, its name, or None: AdamW with learning rate 3e-4,
            weight_decay 0.01, beta_2 0.95 and gradients clipped to norm 1, minGPT's settings.
        variables: those to be trained. All that are not a "kernel" are excluded from weight decay:
            embeddings, norms and biases.
    """
    if optimizer is None:
        optimizer = keras.optimizers.AdamW(
            3e-4, weight_decay=0.01, beta_2=0.95, global_clipnorm=1.0
        )
    optimizer = keras.optimizers.get(optimizer)
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    decays = inner.weight_decay or getattr(inner, "adam_weight_decay", None)  # Muon has both
    if decays and not inner.built:
        inner.exclude_from_weight_decay([v for v in variables if v.name != "kernel"])
    return optimizer


def token_loss(tokens, logits):
    """Mean cross-entropy, in nats, of tokens (B, h, w) under logits float32 (B, h * w, N)."""
    targets = ops.reshape(ops.cast(tokens, "int32"), (-1, logits.shape[1]))
    loss = keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True)
    return ops.mean(loss)

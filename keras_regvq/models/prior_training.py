"""What training a token prior takes, alone or inside an end-to-end model."""

import keras
from keras import ops

from keras_regvq.validation import describe, refuse


class TrainsPrior:
    """Mixin for a keras.Model that trains a prior: optimizer, logged losses, checks of its data.

    A subclass has `token_losses(inputs, outputs)`, which gives the scalars of a batch by name:
    "loss" is minimized, all others are logged; and `check_inputs(argument, inputs)`.
    """

    def create_trackers(self, names):
        """Log the means of the losses of these names, besides Keras's own of "loss"."""
        self.loss_trackers = {name: keras.metrics.Mean(name) for name in names}

    def compile(self, optimizer=None, **kwargs):
        """Configure training.

        Args:
            optimizer: a keras Optimizer; default `prior_training.prior_optimizer`'s AdamW. Weight
                decay applies to the layers' matrices alone. With `use_ema=True` the weights are
                their averages once `fit` is over.
            **kwargs: of `keras.Model.compile`.
        """
        super().compile(optimizer=prior_optimizer(optimizer, self.trainable_variables), **kwargs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The prior's loss, in nats where it is a likelihood; all its terms are logged by name."""
        losses = self.token_losses(x, y_pred)
        for name, tracker in self.loss_trackers.items():
            tracker.update_state(ops.stop_gradient(losses[name]))
        return losses["loss"]

    def fit(self, x=None, *args, **kwargs):
        """`keras.Model.fit` on a dict of arrays, or a dataset of such dicts.

        Raises:
            ValueError: if arrays, or a tf.data set's first batch, have a wrong shape, dtype or
                range.
        """
        for argument, data in (("x", x), ("validation_data", kwargs.get("validation_data"))):
            check_first_batch(argument, data, self.check_inputs)
        return super().fit(x, *args, **kwargs)


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
    if optimizer.weight_decay and not optimizer.built:
        optimizer.exclude_from_weight_decay([v for v in variables if v.name != "kernel"])
    return optimizer


def token_loss(tokens, logits):
    """Mean cross-entropy, in nats, of tokens (B, h, w) under logits float32 (B, h * w, N)."""
    targets = ops.reshape(ops.cast(tokens, "int32"), (-1, logits.shape[1]))
    loss = keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True)
    return ops.mean(loss)


def check_first_batch(argument, data, check):
    """Run `check(argument, dict of arrays)` on arrays wholly, or on a tf.data set's first batch.

    Data that can be read only once is left alone.
    """
    if hasattr(data, "take") and hasattr(data, "element_spec"):  # tf.data.Dataset
        data = next(iter(data.take(1).as_numpy_iterator()), None)
        if data is None:
            refuse(argument, "an empty dataset", "at least one batch")
    elif data is None or not isinstance(data, (dict, list, tuple)) and not hasattr(data, "dtype"):
        return
    if not isinstance(data, dict):
        refuse(argument, describe(data), "a dict of arrays, or a dataset of such dicts")
    check(argument, data)

"""What training a token prior takes, alone or inside an end-to-end model."""

import keras
from keras import ops

from keras_regvq.validation import describe, refuse


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

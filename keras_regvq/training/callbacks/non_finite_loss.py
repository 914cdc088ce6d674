"""Stopping a training whose losses or weights are no numbers any more."""

import math
import warnings

import keras
import numpy as np
from keras import ops

from keras_regvq.backend.fit_state import synchronize
from keras_regvq.checks.arguments import check_positive_integer


class NonFiniteLossError(RuntimeError):
    """Raised by `NonFiniteLoss`: training became NaN or infinite.

    Example:
        ```python
        trainer = keras_regvq.training.TokenizerTrainer(keras_regvq.from_preset("regvq_patch4_256"))
        trainer.compile(keras.optimizers.SGD(1e30))
        try:
            trainer.fit(images, epochs=5, callbacks=[keras_regvq.training.NonFiniteLoss()])
        except keras_regvq.training.NonFiniteLossError as error:
            print(error)  # names the losses or weights, the epoch and the step
        ```
    """


class NonFiniteLoss(keras.callbacks.Callback):
    """Stops `fit` with an error once a loss or a weight is NaN or infinite.

    Losses are looked at after every step, in the numbers that Keras has brought to the host for
    its other callbacks: it costs no wait for the device. Weights are looked at once an epoch, since
    the last step of an epoch may ruin them behind a loss that was still a number.

    Give it before `keras.callbacks.BackupAndRestore` and `ModelCheckpoint`: callbacks run in the
    order of their list, and what they kept before is then the last good state.

    Under mixed_float16 a step that overflows is skipped and the weights stay good. A NaN is then an
    error only if a whole epoch went by without an update; that `patience` steps in a row were
    skipped is a warning, given once.

    Args:
        patience: skipped steps in a row that pass in silence.

    Raises:
        NonFiniteLossError: a RuntimeError, from `fit`. It names the losses or the weights, the
            epoch and the step.

    Example:
        ```python
        trainer = keras_regvq.training.TokenizerTrainer(keras_regvq.from_preset("regvq_patch4_256"))
        trainer.compile("adam")
        watch = keras_regvq.training.NonFiniteLoss()
        trainer.fit(images, epochs=2, callbacks=[watch])
        ```
    """

    # Keras may then call `on_train_batch_end` from a thread, while the device works on. What that
    # raises arrives at the next step, and before any `on_epoch_end`.
    async_safe = True

    def __init__(self, patience=100):
        super().__init__()
        self.patience = check_positive_integer("patience", patience)

    def on_train_begin(self, logs=None):
        self.warned, self.steps, self.updates = False, 0, self._updates()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.first_bad = epoch, None
        self.updates_before = self._updates()

    def on_train_batch_begin(self, batch, logs=None):
        # Only now and then: reading the count of updates waits for the device.
        if self.steps and self.steps % self.patience == 0 and self._scaler() is not None:
            before, self.updates = self.updates, self._updates()
            if self.updates == before:
                self._warn(f"The last {self.patience} steps were all skipped.")
        self.steps += 1

    def on_train_batch_end(self, batch, logs=None):
        bad = _not_finite(logs)
        if bad and self.first_bad is None:
            self.first_bad = f"Epoch {self.epoch + 1}, step {batch + 1}: {', '.join(bad)}."
            if self._scaler() is None:
                raise NonFiniteLossError(_message(self.first_bad))

    def on_epoch_end(self, epoch, logs=None):
        synchronize(self.model)
        bad = self._bad_weights()
        if self.first_bad is None:
            bad = _not_finite(logs) or bad
        elif self._updates() == self.updates_before:
            raise NonFiniteLossError(_message(f"{self.first_bad} All steps were skipped."))
        elif not bad:
            self._warn(f"{self.first_bad} The step was skipped.")
        if bad:
            where = f"Epoch {epoch + 1}, at its end: {', '.join(bad)}."
            raise NonFiniteLossError(_message(where))

    def _bad_weights(self):
        return [
            f"the weight {variable.path} is not finite"
            for variable in self.model.trainable_variables
            if not np.isfinite(ops.convert_to_numpy(variable.value)).all()
        ][:3]

    def _scaler(self):
        optimizer = getattr(self.model, "optimizer", None)
        return optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else None

    def _updates(self):
        """How many steps have updated the weights, where steps can be skipped; else None."""
        scaler = self._scaler()
        if scaler is None:
            return None
        synchronize(self.model)
        return int(ops.convert_to_numpy(scaler.inner_optimizer.iterations))

    def _warn(self, what):
        if self.warned:
            return
        self.warned = True
        scale = float(ops.convert_to_numpy(self._scaler().dynamic_scale))
        warnings.warn(
            f"{what} The loss scale of mixed_float16 is {scale:g}. If it keeps falling, nothing is "
            "learned: use mixed_bfloat16 or float32, or a lower learning rate.",
            stacklevel=2,
        )


def _not_finite(logs):
    """What to say of each log that is NaN or infinite, such as "l1 is nan"."""
    numbers = {name: v for name, v in (logs or {}).items() if isinstance(v, float)}
    return [f"{name} is {v:g}" for name, v in numbers.items() if not math.isfinite(v)]


def _message(what):
    return (
        f"Training is not finite any more. {what} What was saved before this epoch is still good: "
        "go on from there with a lower learning rate, gradients clipped (global_clipnorm=1.0), or "
        "in float32 or mixed_bfloat16 instead of float16."
    )

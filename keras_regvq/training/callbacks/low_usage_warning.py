"""A word when the codebook collapses."""

import warnings

import keras

from keras_regvq.checks.arguments import check_number


class LowUsageWarning(keras.callbacks.Callback):
    """Warns once if an epoch used less than a share of the codebook.

    Args:
        threshold: smallest usage, in [0, 1], that passes in silence.
        patience: epochs before it looks.

    Example:
        ```python
        trainer = keras_regvq.training.TokenizerTrainer(keras_regvq.from_preset("regvq_patch4_256"))
        trainer.compile("adam")
        warning = keras_regvq.training.LowUsageWarning(threshold=0.2)
        trainer.fit(images, epochs=2, callbacks=[warning])
        ```
    """

    def __init__(self, threshold=0.5, patience=1):
        super().__init__()
        self.threshold = check_number("threshold", threshold, 0, 1)
        self.patience = int(check_number("patience", patience))
        self.warned = False

    def on_epoch_end(self, epoch, logs=None):
        usage = (logs or {}).get("codebook_usage")
        if usage is None or epoch < self.patience or usage >= self.threshold or self.warned:
            return
        self.warned = True
        warnings.warn(
            f"Epoch {epoch + 1} used {usage:.1%} of the {self.model.tokenizer.codebook_size} "
            f"codes, less than {self.threshold:.0%}. A RegularizedQuantizer with a larger "
            "prior_weight, or a smaller codebook, uses more of them.",
            stacklevel=2,
        )

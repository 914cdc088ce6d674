"""The optimizer that makes tokenizers sharp in minutes."""

import math
import re

import keras
from keras import ops

from keras_regvq.backend import optimizers
from keras_regvq.checks.arguments import refuse


@keras.saving.register_keras_serializable(package="keras_regvq")
class Muon(optimizers.Muon):
    """`keras.optimizers.Muon` that orthogonalizes the updates of convolutions too.

    Keras gives Muon's step to matrices alone and Adam's to all else. Here a kernel of more axes is
    a matrix too (`matrix_shape`), as in Jordan et al., "Muon: An optimizer for hidden layers in
    neural networks" (2024). Adam's step, at `adam_lr_ratio` of the rate, is left to vectors and to
    what is no hidden layer: first and last convolutions, codebooks, logits and embeddings. Steps
    are scaled as in Liu et al., "Muon is Scalable for LLM Training" (2025).

    With an `ImageTokenizer` of patches, 400 steps of 8 images: 2 to 3 dB more than with Adam, for
    at most a fifth more time. `python -m benchmarks.time_to_quality` compares them.

    Args:
        learning_rate: of the hidden layers.
        adam_lr_ratio: Adam's learning rate, as a share of it.
        weight_decay: of what takes Muon's step; default none.
        adam_weight_decay: of all else; default none.
        exclude_layers: list of regular expressions: variables whose paths match take Adam's step.
        **kwargs: as in `keras.optimizers.Muon`, e.g. use_ema, gradient_accumulation_steps.

    Example:
        ```python
        tokenizer = keras_regvq.from_preset("regvq_patch4_256")
        trainer = keras_regvq.training.TokenizerTrainer(tokenizer)
        trainer.compile(keras_regvq.training.Muon(0.02, use_ema=True))
        trainer.fit(images, batch_size=4, epochs=1)
        ```
    """

    def __init__(
        self,
        learning_rate=0.02,
        adam_lr_ratio=0.1,
        weight_decay=None,
        adam_weight_decay=None,
        exclude_layers=("conv_in", "conv_out", "codebook", "logits"),
        name="muon",
        **kwargs,
    ):
        if not isinstance(exclude_layers, (list, tuple)):
            refuse("exclude_layers", repr(exclude_layers), "a list of regular expressions")
        super().__init__(
            learning_rate=learning_rate,
            adam_lr_ratio=adam_lr_ratio,
            weight_decay=weight_decay,
            adam_weight_decay=adam_weight_decay,
            exclude_layers=list(exclude_layers),
            name=name,
            **kwargs,
        )

    def _should_use_adamw(self, variable):
        if self.exclude_embeddings and "embedding" in variable.path.lower():
            return True
        return len(variable.shape) < 2 or any(
            re.search(pattern, variable.path) for pattern in self.exclude_layers
        )

    def zeropower_via_newtonschulz5(self, x, steps):
        matrix = ops.reshape(x, matrix_shape(x.shape))
        if max(matrix.shape) < 2 * min(matrix.shape):
            step = super().zeropower_via_newtonschulz5(matrix, steps)
        else:
            step = self._orthogonalized_by_gram_matrix(matrix, steps)
        return ops.reshape(step, x.shape)

    def _orthogonalized_by_gram_matrix(self, x, steps):
        """The same for a long matrix, whose products cost most of the iteration.

        Each iteration multiplies X by aI + bG + cG^2, a polynomial in its Gram matrix G of the
        short side. All of these commute: G itself is iterated, and X is multiplied once, at last.
        """
        tall = x.shape[0] > x.shape[1]
        x = x / (ops.norm(x) + 1e-7)
        gram = ops.transpose(x) @ x if tall else x @ ops.transpose(x)
        identity = ops.eye(min(x.shape), dtype=x.dtype)
        product = identity
        for step in range(steps):
            factor = self.muon_a * identity + (self.muon_b * identity + self.muon_c * gram) @ gram
            product = factor if step == 0 else product @ factor
            if step < steps - 1:
                gram = gram @ (factor @ factor)
        return x @ product if tall else product @ x

    def lr_adjust(self, x):
        return x if self.rms_rate is None else x * self.rms_rate * max(matrix_shape(x.shape)) ** 0.5


def matrix_shape(shape):
    """(inputs, outputs) of a kernel.

    (3, 3, C, D), a convolution's, is (9 C, D). Of attention's, (D, heads, D / heads) and
    (heads, D / heads, D), both are (D, D): the cut that makes the sides most nearly equal.
    """
    cuts = [(math.prod(shape[:axis]), math.prod(shape[axis:])) for axis in range(1, len(shape))]
    return cuts[-1] if len(shape) > 3 else min(cuts, key=lambda sides: max(sides) / min(sides))

"""What turns captions into the arrays that a prior's text condition takes."""

import warnings

import numpy as np

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import describe


class TextEncoder:
    """Base class: `encode`, and `condition`, the layer that takes what it gives.

    Attributes:
        max_length: T, positions; what is longer is cut off, with a warning.

    Example:
        ```python
        # Captions as the numbers of their ASCII characters.
        class CharacterEncoder(keras_regvq.models.TextEncoder):
            def __init__(self, max_length):
                self.max_length = max_length

            def encode(self, texts):
                rows = [list(text.encode("ascii"))[: self.max_length] for text in texts]
                return np.array([row + [0] * (self.max_length - len(row)) for row in rows], "int32")

            def condition(self, **options):
                return keras_regvq.models.WordCondition(128, self.max_length, **options)

        encoder = CharacterEncoder(max_length=32)
        prior = keras_regvq.models.DiffusionPrior(
            256, (4, 4), channels=32, condition=encoder.condition(num_layers=1)
        )
        tokens = prior.generate(encoder.encode(["a boat"]), num_steps=4, seed=0)  # (1, 4, 4)
        ```
    """

    max_length = None

    def encode(self, texts):
        """Encode captions.

        Args:
            texts: a list or array of B strings.

        Returns:
            NumPy array (B, T) or (B, T, D).

        Raises:
            ValueError: for anything but strings.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement encode()")

    def condition(self, **options):
        """A new `Condition` for a prior that takes what `encode` gives."""
        raise NotImplementedError(f"{type(self).__name__} must implement condition()")

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def check_texts(argument, texts):
    """Return texts as a list of str; bytes are read as UTF-8."""
    if isinstance(texts, (str, bytes)) or not hasattr(texts, "__len__"):
        refuse(argument, describe(texts), "a list of strings")
    texts = np.asarray(texts).tolist() if hasattr(texts, "shape") else list(texts)
    if not texts:
        refuse(argument, "an empty list", "at least one string")
    for number, text in enumerate(texts):
        if isinstance(text, bytes):
            try:
                texts[number] = text.decode()
            except UnicodeDecodeError:
                refuse(argument, f"{text[:100]!r} at position {number}", "bytes that are UTF-8")
        elif not isinstance(text, str):
            refuse(argument, f"{describe(text)} at position {number}", "strings")
    return texts


def warn_of_cut(texts, length, unit):
    """Warn, once a call, of texts that were cut."""
    if texts:
        warnings.warn(
            f"{len(texts)} texts are longer than {length} {unit} and were cut, the first one: "
            f"{texts[0][:200]!r}",
            stacklevel=3,
        )

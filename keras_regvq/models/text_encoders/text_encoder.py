"""What turns captions into the arrays that a prior's text condition takes."""

import warnings

import numpy as np

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import describe


class TextEncoder:
    """Base class: `encode`, and `condition`, the layer that takes what it gives.

    Attributes:
        max_length: T, positions; what is longer is cut off, with a warning.
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
    texts = [text.decode() if isinstance(text, bytes) else text for text in texts]
    for number, text in enumerate(texts):
        if not isinstance(text, str):
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

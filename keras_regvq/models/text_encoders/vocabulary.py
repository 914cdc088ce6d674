"""Captions as numbers of the words of a data set's own vocabulary."""

import re
import unicodedata
import warnings

import keras
import numpy as np

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.models.conditions.caption_words import WordCondition
from keras_regvq.models.text_encoders.text_encoder import TextEncoder, check_texts, warn_of_cut


@keras.saving.register_keras_serializable(package="keras_regvq")
class VocabularyEncoder(TextEncoder):
    """Words of a data set's own vocabulary as numbers: needs nothing but the captions.

    0 fills up, 1 ends a caption, 2 is a word that is not in the vocabulary, 3 and so on are its
    words. Lower and upper case are the same; punctuation marks count as words.

    Args:
        words: the vocabulary, a list of different strings.
        max_length: T, words and the end.

    Example:
        ```python
        captions = keras_regvq.data.scenes(8, size=64)["captions"]
        encoder = keras_regvq.models.VocabularyEncoder.from_captions(captions)
        encoder.encode(captions).shape  # (8, 25)
        prior = keras_regvq.models.DiffusionPrior(
            256, (4, 4), channels=32, condition=encoder.condition(num_layers=1)
        )
        ```
    """

    def __init__(self, words, max_length):
        self.words = [str(word) for word in words]
        if not self.words or len(set(self.words)) < len(self.words):
            refuse("words", f"{len(self.words)} words", "different words, at least one")
        self.max_length = check_positive_integer("max_length", max_length)
        self._numbers = {word: number for number, word in enumerate(self.words, 3)}

    @classmethod
    def from_captions(cls, captions, max_length=None, min_count=1):
        """Make a vocabulary of all words of captions, the most frequent first.

        Args:
            captions: strings.
            max_length: default what the longest caption needs.
            min_count: leave out words that are rarer.
        """
        split = [split_words(text) for text in check_texts("captions", captions)]
        counts = {}
        for words in split:
            for word in words:
                counts[word] = counts.get(word, 0) + 1
        kept = sorted((w for w in counts if counts[w] >= min_count), key=lambda w: (-counts[w], w))
        return cls(kept, max_length or 1 + max(map(len, split)))

    @property
    def vocabulary_size(self):
        return 3 + len(self.words)

    def encode(self, texts):
        """Strings (B,) -> int32 (B, T); warns of unknown words and of captions that are cut."""
        texts = check_texts("texts", texts)
        encoded = np.zeros((len(texts), self.max_length), "int32")
        unknown, cut = {}, []
        for row, text in zip(encoded, texts, strict=True):
            words = split_words(text)
            unknown.update(dict.fromkeys(word for word in words if word not in self._numbers))
            if len(words) >= self.max_length:
                cut.append(text)
                words = words[: self.max_length - 1]
            row[: len(words)] = [self._numbers.get(word, 2) for word in words]
            row[len(words)] = 1
        if unknown:
            some = ", ".join(map(repr, list(unknown)[:5]))
            warnings.warn(
                f"Not in the vocabulary of {len(self.words)} words, and read as unknown: "
                f"{some}{' ...' * (len(unknown) > 5)}",
                stacklevel=2,
            )
        warn_of_cut(cut, self.max_length - 1, "words")
        return encoded

    def condition(self, **options):
        """A `WordCondition`; options are its num_layers, num_heads and kernel_size."""
        return WordCondition(self.vocabulary_size, self.max_length, **options)

    def get_config(self):
        return {"words": self.words, "max_length": self.max_length}


def split_words(text):
    """Lower-case words, numbers and punctuation marks of a text, in order."""
    text = unicodedata.normalize("NFC", text).lower()  # letters with their accents
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]", text)

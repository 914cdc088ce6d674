"""Captions as numbers of their words."""

import numpy as np
import pytest

from keras_regvq import models

CAPTIONS = ["a red boat at night", "A blue car, on the sand!", "a red car on the sand"]


def make_encoder(**options):
    return models.VocabularyEncoder.from_captions(CAPTIONS, **options)


def test_a_vocabulary_counts_words_whatever_their_case():
    encoder = make_encoder()
    assert encoder.words[:2] == ["a", "car"]  # a: 3 times, car, on, red, sand, the: twice
    assert set(encoder.words) == set("a red boat at night blue car , on the sand !".split())
    assert encoder.max_length == 9  # 8 words and marks, and the end
    assert encoder.vocabulary_size == 3 + 12
    assert make_encoder(min_count=2).words == ["a", "car", "on", "red", "sand", "the"]


def test_captions_become_numbers_that_end_with_one():
    encoder = make_encoder()
    number = {word: index for index, word in enumerate(encoder.words, 3)}
    (row,) = encoder.encode(["a RED car"])
    assert row.dtype == np.int32
    assert row.tolist() == [number["a"], number["red"], number["car"], 1, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(encoder.encode([b"a red car"]), [row])
    np.testing.assert_array_equal(encoder.encode(np.array(["a red car"])), [row])


def test_letters_with_their_accents_apart_are_the_same_words():
    encoder = models.VocabularyEncoder.from_captions(["a caf\u00e9"])
    np.testing.assert_array_equal(encoder.encode(["cafe\u0301"]), encoder.encode(["caf\u00e9"]))


def test_an_empty_caption_is_its_end_alone():
    assert make_encoder().encode([""]).tolist() == [[1] + [0] * 8]


def test_unknown_words_are_named_and_read_as_unknown():
    with pytest.warns(UserWarning, match="Not in the vocabulary of .* 'zebra'"):
        encoded = make_encoder().encode(["a zebra", "zebra"])
    assert encoded[1].tolist()[:2] == [2, 1]


def test_long_captions_are_cut_with_one_warning():
    encoder = make_encoder(max_length=4)
    with pytest.warns(UserWarning, match="2 texts are longer than 3 words") as caught:
        encoded = encoder.encode(["a red boat at night", "a red boat at", "a red boat"])
    assert len(caught) == 1
    assert (encoded[:, 3] == 1).all() and (encoded[0] == encoded[2]).all()


@pytest.mark.parametrize(
    "texts, named",
    [
        ("a red boat", "a list of strings"),
        ([], "an empty list"),
        (["a", 3], "at position 1"),
        (["a", b"caf\xe9"], "position 1.*UTF-8"),
        (np.zeros((2, 2)), "strings"),
        (None, "a list of strings"),
    ],
)
def test_anything_but_strings_is_refused(texts, named):
    with pytest.raises(ValueError, match=named):
        make_encoder().encode(texts)


def test_a_vocabulary_needs_different_words():
    for words in ([], ["a", "a"]):
        with pytest.raises(ValueError, match="words"):
            models.VocabularyEncoder(words, 5)

import warnings

import keras
import keras_hub
import numpy as np
import pytest
from keras import ops

from keras_regvq import models
from tests.models.priors.tiny_prior import randomize

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


def test_a_word_condition_ignores_what_follows_the_end():
    condition = models.WordCondition(20, 6, num_layers=1, num_heads=2)
    condition.build_for((4, 6), 8)
    randomize(condition)
    short = np.array([[5, 7, 1, 0, 0, 0]], "int32")
    prefix, aligned = condition(ops.convert_to_tensor(short))
    assert aligned is None and tuple(prefix.shape) == (1, 6, 8)
    mask = ops.convert_to_numpy(condition.prefix_mask(ops.convert_to_tensor(short)))
    assert mask.tolist() == [[True, True, True, False, False, False]]
    # The three that count are the same when there is no room for more.
    cut = models.WordCondition(20, 3, num_layers=1, num_heads=2)
    cut.build_for((4, 6), 8)
    for ours, theirs in zip(cut.weights, condition.weights, strict=True):
        ours.assign(theirs[: ours.shape[0]] if ours.shape != theirs.shape else theirs)
    alone, _ = cut(ops.convert_to_tensor(short[:, :3]))
    expected = ops.convert_to_numpy(alone)
    np.testing.assert_allclose(ops.convert_to_numpy(prefix)[:, :3], expected, atol=1e-5)


@pytest.mark.parametrize("values", [[[5, 7, 1]], [[5] * 6, [99] * 6], [[0.5] * 6]])
def test_wrong_word_numbers_are_named(values):
    condition = models.WordCondition(20, 6)
    with pytest.raises(ValueError, match="word numbers"):
        condition.check(np.asarray(values))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A BERT of two layers with random weights, in a directory that KerasHub wrote."""
    keras.utils.set_random_seed(0)
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] a red blue boat car at night".split()
    directory = tmp_path_factory.mktemp("bert")
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(words),
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=16,
    )
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=words, lowercase=True)
    backbone.save_to_preset(str(directory))
    tokenizer.save_to_preset(str(directory))
    return directory, backbone


def test_pretrained_features_are_the_language_models_last_states(bert):
    directory, backbone = bert
    encoder = models.PretrainedTextEncoder(directory, max_length=8)
    features = encoder.encode(["a red boat", "night"])
    assert features.shape == (2, 8, 8) and features.dtype == np.float32
    ids = np.array([[2, 5, 6, 8, 3, 0, 0, 0]], "int32")
    mask = (ids != 0).astype("int32")
    inputs = {"token_ids": ids, "padding_mask": mask, "segment_ids": np.zeros_like(ids)}
    expected = backbone.predict(inputs, verbose=0)["sequence_output"][0]
    np.testing.assert_allclose(features[0, :5], expected[:5], atol=2e-3)  # kept in float16
    assert (features[0, 5:] == 0).all() and (features[1, 3:] == 0).all()


def test_features_are_computed_once_for_each_caption(bert, monkeypatch):
    encoder = models.PretrainedTextEncoder(bert[0], max_length=8)
    first, asked = encoder.encode(["a red boat", "a car", "a car"]), []
    original = encoder._encode_new
    monkeypatch.setattr(
        encoder, "_encode_new", lambda texts: (asked.append(texts), original(texts))
    )
    np.testing.assert_array_equal(encoder.encode(["a car", "a red boat"]), first[1::-1])
    encoder.encode(["night", "a car"])
    assert asked == [["night"]]


def test_a_small_cache_forgets_the_oldest_captions(bert):
    encoder = models.PretrainedTextEncoder(bert[0], max_length=8, cache_size=2)
    whole = encoder.encode(["a red boat", "a car", "night"])
    assert list(encoder._features) == ["a car", "night"]
    np.testing.assert_allclose(encoder.encode(["a red boat"]), whole[:1], atol=1e-3)


def test_a_language_models_long_captions_are_cut(bert):
    encoder = models.PretrainedTextEncoder(bert[0], max_length=4)
    with pytest.warns(UserWarning, match="1 texts are longer than 4 tokens"):
        features = encoder.encode(["a red boat at night"])
    assert (features != 0).any(-1).all()


def test_an_unknown_language_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a text model that KerasHub can load"):
        models.PretrainedTextEncoder(tmp_path, 8).encode(["a"])


def test_a_t5_encoder_and_a_clip_text_tower_are_understood():
    from keras_regvq.models.text_encoders.pretrained import _TextModel

    t5 = keras_hub.models.T5Backbone(
        vocabulary_size=20,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        key_value_dim=4,
    )
    ids, mask = np.array([[4, 5, 1, 0]], "int32"), np.array([[True, True, True, False]])
    features = _TextModel(t5)(ids, mask)
    inputs = {"encoder_token_ids": ids, "encoder_padding_mask": mask.astype("int32")}
    inputs |= {name.replace("encoder", "decoder"): values for name, values in inputs.items()}
    expected = t5.predict(inputs, verbose=0)["encoder_sequence_output"]
    np.testing.assert_allclose(features[:, :3], expected[:, :3], atol=1e-5)

    clip = keras_hub.models.CLIPTextEncoder(
        vocabulary_size=20,
        embedding_dim=8,
        hidden_dim=8,
        num_layers=1,
        num_heads=2,
        intermediate_dim=16,
        max_sequence_length=4,
    )
    features = _TextModel(clip)(ids, mask)
    expected = clip.predict({"token_ids": ids}, verbose=0)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_a_model_without_text_is_refused():
    from keras_regvq.models.text_encoders.pretrained import _TextModel

    vgg = keras_hub.models.VGGBackbone([1], [4], image_shape=(8, 8, 3))
    with pytest.raises(ValueError, match="a text backbone"):
        _TextModel(vgg)


def test_text_features_are_checked():
    condition = models.TextFeatureCondition(4, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert condition.check(np.ones((2, 4, 6))).dtype == np.float32
    for values in (np.ones((2, 4, 5)), np.ones((2, 4, 6), int)):
        with pytest.raises(ValueError, match=r"floats of shape \(B, \*\(4, 6\)\)"):
            condition.check(values)

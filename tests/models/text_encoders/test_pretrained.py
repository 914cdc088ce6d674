"""Features of a frozen language model, against the model itself."""

import keras_hub
import numpy as np
import pytest

from keras_regvq import models
from keras_regvq.models.text_encoders.pretrained import _TextModel


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
    vgg = keras_hub.models.VGGBackbone([1], [4], image_shape=(8, 8, 3))
    with pytest.raises(ValueError, match="a text backbone"):
        _TextModel(vgg)

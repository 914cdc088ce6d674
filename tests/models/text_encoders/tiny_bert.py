"""A BERT of two layers with random weights."""

import keras
import keras_hub
import pytest


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

"""Tensors of LlamaGen, against its own forward pass."""

import numpy as np
import pytest
import torch

import keras_regvq
from keras_regvq.models import ImageTokenizer
from keras_regvq.presets.formats.llamagen import is_llamagen, llamagen_state_dict, load_llamagen
from keras_regvq.quantizers import VectorQuantizer
from keras_regvq.torch_files import read_torch_file
from tests.presets.formats.peer_models import (
    check_llamagen,
    llamagen_layout,
    llamagen_model,
    taming_model,
)


def test_other_groups_than_llamagens_are_refused(tmp_path):
    quantizer = VectorQuantizer(8, 4, normalize=True)
    tokenizer = ImageTokenizer(8, quantizer, 8, (1,), 1, (), 8, norm_groups=4)
    with pytest.raises(ValueError, match="norm_groups=32"):
        keras_regvq.presets.export(tokenizer, tmp_path / "no.pt", "llamagen")


@pytest.mark.parametrize("key", ["ema", "model"])
def test_a_llamagen_checkpoint_encodes_and_decodes_as_there_and_goes_back(tmp_path, key):
    model = llamagen_model()
    state = {**llamagen_layout(model.state_dict()), "quantize.codebook_used": torch.zeros(9)}
    other = {"model": {name: value * 0 for name, value in state.items()}} if key == "ema" else {}
    torch.save({**other, key: state, "steps": 7}, tmp_path / "vq.pt")
    checkpoint = read_torch_file(tmp_path / "vq.pt")
    assert is_llamagen(checkpoint) and not is_llamagen(taming_model().state_dict())
    tokenizer, ignored = load_llamagen(checkpoint, image_size=32)
    assert ignored == ["quantize.codebook_used"]
    check_llamagen(tokenizer, model)
    back = llamagen_state_dict(tokenizer)
    assert set(back) == set(state) - {"quantize.codebook_used"}
    for name, value in back.items():
        np.testing.assert_array_equal(value, state[name].numpy())

"""What a checkpoint's shapes tell of its architecture."""

import numpy as np
import pytest

from keras_regvq.presets.formats.architecture import _needed, build_tokenizer, infer_architecture
from keras_regvq.presets.formats.taming import taming_state_dict

SIZES = {
    "base_channels": 32, "channel_multipliers": (1, 2, 1), "num_res_blocks": 2,
    "latent_channels": 5, "attention_levels": {1}, "embedding_dim": 6, "codebook_size": 20,
}  # fmt: skip


@pytest.mark.parametrize("middle", [True, False])
def test_it_is_found_again_and_its_numbers_are_counted(middle):
    sizes = {**SIZES, "middle_attention": middle}
    tokenizer = build_tokenizer(sizes, image_size=16)
    tensors = taming_state_dict(tokenizer)
    assert infer_architecture({n: t.shape for n, t in tensors.items()}, "a file") == sizes
    counted = _needed(sizes, 3)
    assert sum(counted) == sum(np.prod(w.shape) for w in tokenizer.weights)
    assert sorted(counted) == sorted(tensor.size for tensor in tensors.values())

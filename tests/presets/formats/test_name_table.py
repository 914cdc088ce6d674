"""Names of other projects' tensors, one by one and there and back."""

import pytest

from keras_regvq.presets.formats import diffusers, llamagen, vqgan_names
from keras_regvq.presets.formats.architecture import build_tokenizer
from keras_regvq.presets.formats.name_table import NameTable
from keras_regvq.presets.formats.taming import taming_state_dict

LEVELS = 3
SIZES = {
    "base_channels": 32, "channel_multipliers": (1, 1, 1), "num_res_blocks": 2,
    "latent_channels": 5, "attention_levels": {1}, "embedding_dim": 6, "codebook_size": 20,
    "middle_attention": True,
}  # fmt: skip


@pytest.mark.parametrize(
    "table, ours, theirs",
    [
        (vqgan_names.NAMES, "encoder.down_2_block_1.conv1.weight",
         "encoder.down.2.block.1.conv1.weight"),
        (vqgan_names.NAMES, "decoder.post_quant_conv.bias", "post_quant_conv.bias"),
        (diffusers.NAMES, "decoder.up.0.block.1.nin_shortcut.bias",
         "decoder.up_blocks.2.resnets.1.conv_shortcut.bias"),
        (diffusers.NAMES, "encoder.mid.attn_1.proj_out.weight",
         "encoder.mid_block.attentions.0.to_out.0.weight"),
        (llamagen.NAMES, "decoder.up.2.attn.0.norm.weight",
         "decoder.conv_blocks.0.attn.0.norm.weight"),
        (llamagen.NAMES, "decoder.mid.block_2.norm1.bias", "decoder.mid.2.norm1.bias"),
    ],
)  # fmt: skip
def test_a_name_goes_there_and_back(table, ours, theirs):
    assert table.to_theirs(ours, LEVELS) == theirs
    assert table.to_ours(theirs, LEVELS) == ours


@pytest.mark.parametrize("table", [diffusers.NAMES, llamagen.NAMES])
def test_no_two_tensors_of_a_model_get_one_name(table):
    names = list(taming_state_dict(build_tokenizer(SIZES, image_size=16)))
    renamed = [table.to_theirs(name, LEVELS) or name for name in names]
    assert len(set(renamed)) == len(names)
    assert [table.to_ours(name, LEVELS) or name for name in renamed] == names
    assert not any(".down." in name or ".up." in name for name in renamed)


def test_a_name_that_no_line_fits_has_none():
    table = NameTable({"encoder.{level}.": "e{level}."})
    assert table.to_theirs("encoder.2.weight") == "e2.weight"
    assert table.to_theirs("encoder.two.weight") is None and table.to_ours("f2.weight") is None

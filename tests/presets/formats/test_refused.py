"""Published tokenizers of other networks are known by their tensors, and refused with why."""

import pytest
import torch

import keras_regvq
from keras_regvq import presets
from tests.presets.formats.peer_models import taming_model

OPEN_MAGVIT2 = (
    "encoder.conv_in.weight", "encoder.down.0.block.0.norm1.weight",
    "encoder.mid_block.3.conv1.weight", "decoder.up.1.upsample.conv1.weight",
    "decoder.adaptive.0.gamma.weight", "decoder.adaptive.0.beta.bias",
    "model_ema.decoderadaptive0gammaweight",
)  # fmt: skip
VIDEO = ("encoder.conv_in.conv.weight", "decoder.adaptive.2.beta.weight")
VAR = (
    "encoder.conv_in.weight", "encoder.mid.attn_1.qkv.weight", "quantize.embedding.weight",
    "quantize.ema_vocab_hit_SV", "quantize.quant_resi.qresi_ls.0.weight", "quant_conv.weight",
)  # fmt: skip
CASES = [
    (OPEN_MAGVIT2, "of Open-MAGVIT2: its decoder scales.*depth-to-space.*pads strided"),
    (VIDEO, "of Open-MAGVIT2"),
    (VAR, "of VAR: its tokens are ten maps of growing size"),
]


@pytest.mark.parametrize("names, reason", CASES)
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}])
def test_a_checkpoint_of_another_network_is_refused_with_the_reason(tmp_path, names, reason, wrap):
    torch.save(wrap({name: torch.zeros(2) for name in names}), tmp_path / "vq.ckpt")
    assert presets.foreign_format(tmp_path / "vq.ckpt") == "checkpoint"
    for read in (keras_regvq.from_preset, presets.load_foreign):
        with pytest.raises(ValueError, match=f"vq.ckpt', {reason}.*Expected: .* VQ-GAN's network"):
            read(tmp_path / "vq.ckpt")


def test_a_module_around_the_tokenizer_hides_nothing(tmp_path):
    state = {f"first_stage_model.module.{name}": torch.zeros(2) for name in VAR}
    torch.save({"trainer": state}, tmp_path / "vq.pth")
    with pytest.raises(ValueError, match="of VAR"):
        keras_regvq.from_preset(tmp_path / "vq.pth")


def test_they_are_no_formats_to_write(tmp_path):
    torch.save(taming_model().state_dict(), tmp_path / "vq.ckpt")
    tokenizer = keras_regvq.from_preset(tmp_path / "vq.ckpt", image_size=32)  # others are not hit
    for project in ("var", "open_magvit2"):
        with pytest.raises(ValueError, match="format.*seed_voken"):
            presets.export(tokenizer, tmp_path / "out", project)

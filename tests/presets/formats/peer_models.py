"""Small tokenizers of other projects with random weights, and their own forward passes."""

import warnings

import numpy as np
import torch

from benchmarks.plain_torch import quantizers as plain_quantizers
from benchmarks.plain_torch.vqgan import VQGAN

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from diffusers import VQModel


def random_norms(model):
    """Norms start as ones and zeros, which would hide a mix-up."""
    for name, weights in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(weights, 1.0 if name.endswith("weight") else 0.0, 0.3)
    return model.eval()


def taming_model(gumbel=False):
    torch.manual_seed(0)
    kind = plain_quantizers.GumbelQuantizer if gumbel else plain_quantizers.VectorQuantizer
    model = VQGAN(
        kind(20, 6), ch=32, ch_mult=(1, 2, 2), num_res_blocks=2, attn_resolutions=(8,),
        resolution=32, z_channels=6 if gumbel else 5, embed_dim=6,
    )  # fmt: skip
    return random_norms(model)


def diffusers_model(**options):
    torch.manual_seed(0)
    settings = {
        "block_out_channels": (32, 64),
        "down_block_types": ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        "up_block_types": ("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        "layers_per_block": 2,
        "latent_channels": 5,
        "num_vq_embeddings": 20,
        "vq_embed_dim": 6,
        "sample_size": 16,
    }
    return random_norms(VQModel(**{**settings, **options}))


class UnitLengthQuantizer(plain_quantizers.VectorQuantizer):
    """LlamaGen's lookup: z and the codes are brought to length 1."""

    def forward(self, z):
        codes = torch.nn.functional.normalize(self.embedding.weight, dim=-1)
        z = torch.nn.functional.normalize(z.permute(0, 2, 3, 1), dim=-1)
        tokens = (z[..., None, :] - codes).square().sum(-1).argmin(-1)
        return {"embeddings": codes[tokens].permute(0, 3, 1, 2), "best_tokens": tokens}


def llamagen_model():
    torch.manual_seed(1)
    model = VQGAN(
        UnitLengthQuantizer(20, 4), ch=32, ch_mult=(1, 1, 2), num_res_blocks=2,
        attn_resolutions=(8,), resolution=32, z_channels=5, embed_dim=4,
    )  # fmt: skip
    torch.nn.init.normal_(model.quantize.embedding.weight)
    return random_norms(model)


def llamagen_layout(state, levels=3):
    """By LlamaGen's own source: blocks counted as they run, the middle as a list."""
    renamed = {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[1:2] == ["mid"]:
            parts[2] = str(["block_1", "attn_1", "block_2"].index(parts[2]))
        elif parts[1:2] in (["down"], ["up"]):
            number = int(parts[2])
            number = number if parts[1] == "down" else levels - 1 - number
            parts[1:3] = "conv_blocks", str(number)
            parts[3] = {"block": "res"}.get(parts[3], parts[3])
        renamed[".".join(parts)] = value
    return renamed


def images(side=16, count=2):
    return np.random.default_rng(0).random((count, side, side + 8, 3), dtype="float32")


def torch_images(pictures):
    return torch.tensor(pictures.transpose(0, 3, 1, 2) * 2 - 1)


def check_equal(tokenizer, pictures, their_tokens, decode):
    """`decode` maps tokens (B, h, w) to their images (B, 3, H, W) in [-1, 1]."""
    tokens = tokenizer.encode(pictures)
    assert len(np.unique(tokens)) > 3
    np.testing.assert_array_equal(tokens, their_tokens)
    with torch.no_grad():
        theirs = decode(torch.tensor(tokens).long()).numpy().transpose(0, 2, 3, 1)
    expected = np.clip(theirs / 2 + 0.5, 0, 1)
    assert expected.std() > 0.05
    np.testing.assert_allclose(tokenizer.decode(tokens), expected, atol=1e-4)


def check_diffusers(tokenizer, model):
    """With `lookup_from_codebook` as aMUSEd's pipeline does it: pixels are in [0, 1]."""
    pictures, given = images(), torch_images(images())
    if model.config.lookup_from_codebook:
        given = given / 2 + 0.5
    with torch.no_grad():
        latents = model.encode(given).latents
        tokens = model.quantize(latents)[2][2].reshape(2, *latents.shape[2:])

    def decode(tokens):
        if model.config.lookup_from_codebook:  # tokens themselves are decoded
            shape = (*tokens.shape, latents.shape[1])
            return model.decode(tokens, force_not_quantize=True, shape=shape).sample * 2 - 1
        codes = model.quantize.embedding(tokens).permute(0, 3, 1, 2)
        return model.decode(codes, force_not_quantize=True).sample

    check_equal(tokenizer, pictures, tokens.numpy(), decode)


def check_taming(tokenizer, model, pictures=None):
    pictures = images(32) if pictures is None else pictures
    with torch.no_grad():
        tokens = model(torch_images(pictures))[1]["best_tokens"].numpy()
    table = getattr(model.quantize, "embed", None) or model.quantize.embedding

    def decode(tokens):
        return model.decoder(model.post_quant_conv(table(tokens).permute(0, 3, 1, 2)))

    check_equal(tokenizer, pictures, tokens, decode)


def check_llamagen(tokenizer, model):
    pictures = images(32)
    with torch.no_grad():
        features = model.quant_conv(model.encoder(torch_images(pictures)))
        tokens = model.quantize(features)["best_tokens"].numpy()
    codes = torch.nn.functional.normalize(model.quantize.embedding.weight, dim=-1)

    def decode(tokens):
        return model.decoder(model.post_quant_conv(codes[tokens].permute(0, 3, 1, 2)))

    check_equal(tokenizer, pictures, tokens, decode)

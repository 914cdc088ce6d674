"""Transformers of Net2Net checkpoints, against a plain PyTorch minGPT of their layout."""

import numpy as np
import pytest
import torch
from keras import ops
from torch import nn

import keras_regvq
from benchmarks.plain_torch import quantizers as plain_quantizers
from benchmarks.plain_torch.vqgan import VQGAN
from keras_regvq import models
from keras_regvq.__main__ import main as command
from keras_regvq.presets import load_net2net

CODES, CLASSES, WIDTH, HEADS, SIDE = 20, 5, 16, 4, 16


class Attention(nn.Module):
    def __init__(self, block_size):
        super().__init__()
        self.key, self.query, self.value, self.proj = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.register_buffer("mask", torch.tril(torch.ones(block_size, block_size))[None, None])

    def forward(self, x):
        def heads(layer):
            return layer(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)

        scores = heads(self.query) @ heads(self.key).mT / (WIDTH // HEADS) ** 0.5
        causal = self.mask[:, :, : x.shape[1], : x.shape[1]] == 0
        shares = scores.masked_fill(causal, -torch.inf).softmax(-1)
        return self.proj((shares @ heads(self.value)).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, block_size):
        super().__init__()
        self.ln1, self.ln2, self.attn = (
            nn.LayerNorm(WIDTH),
            nn.LayerNorm(WIDTH),
            Attention(block_size),
        )
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH), nn.Dropout(0.1)
        )

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class MinGPT(nn.Module):
    def __init__(self, vocabulary, block_size):
        super().__init__()
        self.tok_emb = nn.Embedding(vocabulary, WIDTH)
        self.pos_emb = nn.Parameter(torch.zeros(1, block_size, WIDTH))
        self.blocks = nn.Sequential(*(Block(block_size) for _ in range(2)))
        self.ln_f, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, vocabulary, bias=False)

    def forward(self, tokens):
        x = self.tok_emb(tokens) + self.pos_emb[:, : tokens.shape[1]]
        return self.head(self.ln_f(self.blocks(x)))


def tokenizer(channels):
    sizes = {"ch": 32, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (8,)}
    quantizer = plain_quantizers.VectorQuantizer(CODES, 6)
    return VQGAN(
        quantizer, resolution=SIDE, z_channels=5, embed_dim=6, in_channels=channels,
        out_ch=channels, **sizes,
    )  # fmt: skip


def checkpoint(tmp_path, vocabulary=CODES, block_size=128, maps=False, lacking=None):
    """A Net2Net of random weights: its file without the tensor `lacking`, and its parts."""
    torch.manual_seed(0)
    parts = {"first_stage_model": tokenizer(3), "transformer": MinGPT(vocabulary, block_size)}
    if maps:
        parts["cond_stage_model"] = tokenizer(CLASSES)
    state = {"first_stage_model.loss.logvar": torch.zeros(1)}
    for name, module in parts.items():
        for weights in module.eval().parameters():
            nn.init.normal_(weights, 0.5 * (weights.ndim == 1), 0.3)
        state |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    state.pop(lacking, None)
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt", parts


def their_logits(transformer, start, tokens):
    """Logits of `tokens` (B, L) after the sequence `start` (B, P)."""
    sequence = torch.cat([start, torch.tensor(tokens)], dim=1)[:, :-1].long()
    with torch.no_grad():
        return transformer(sequence)[:, start.shape[1] - 1 :, :CODES].numpy()


def check_prior(prior, transformer, start, condition=None):
    """Equal logits of random tokens, and equal greedy samples."""
    tokens = np.random.default_rng(1).integers(0, CODES, (2, 8, 8)).astype("int32")
    inputs = {"tokens": ops.convert_to_tensor(tokens)}
    if condition is not None:
        inputs["condition"] = ops.convert_to_tensor(condition)
    expected = their_logits(transformer, start, tokens.reshape(2, -1))
    assert expected.std() > 0.1
    np.testing.assert_allclose(ops.convert_to_numpy(prior(inputs)), expected, atol=1e-4)
    drawn = np.zeros((2, 64), "int32")
    for position in range(64):
        logits = their_logits(transformer, start, drawn)
        drawn[:, position] = logits[:, position].argmax(-1)
    options = {"num_samples": 2} if condition is None else {"condition": condition}
    np.testing.assert_array_equal(prior.generate(temperature=0, **options).reshape(2, -1), drawn)


def test_a_transformer_conditioned_on_maps(tmp_path):
    file, parts = checkpoint(tmp_path, maps=True)
    tokenizer, prior, ignored = load_net2net(file, HEADS, image_size=SIDE)
    assert ignored == ["first_stage_model.loss.logvar"]
    maps = np.random.default_rng(2).integers(0, CLASSES, (2, SIDE, SIDE)).astype("int32")
    one_hot = torch.eye(CLASSES)[torch.tensor(maps).long()].permute(0, 3, 1, 2)
    with torch.no_grad():
        start = parts["cond_stage_model"](one_hot)[1]["best_tokens"].flatten(1)
    assert len(start.unique()) > 3
    np.testing.assert_array_equal(prior.condition.tokenizer.encode(maps).reshape(2, -1), start)
    check_prior(prior, parts["transformer"], start, maps)
    generator = models.SemanticToImage(tokenizer, prior)
    generator.save_to_preset(tmp_path / "preset")
    loaded = models.SemanticToImage.from_preset(tmp_path / "preset")
    generated = generator.generate(maps, temperature=0)
    np.testing.assert_allclose(loaded.generate(maps, temperature=0), generated, atol=1e-6)


def test_a_transformer_conditioned_on_classes_with_more_tokens_than_codes(tmp_path):
    file, parts = checkpoint(tmp_path, vocabulary=30)
    prior = load_net2net(file, HEADS, num_classes=7, image_size=SIDE)[1]
    check_prior(prior, parts["transformer"], torch.tensor([[6], [2]]), np.int32([6, 2]))


def test_a_transformer_conditioned_on_nothing_starts_with_token_0(tmp_path):
    file, parts = checkpoint(tmp_path)
    prior = load_net2net(file, HEADS, image_size=SIDE)[1]
    check_prior(prior, parts["transformer"], torch.zeros(2, 1))


@pytest.mark.parametrize("prefix", ["module.", "model._orig_mod."])
def test_a_wrapped_net2net_is_the_same(tmp_path, prefix):
    file, parts = checkpoint(tmp_path, maps=True)
    state = torch.load(file)["state_dict"]
    torch.save({"model": {prefix + name: value for name, value in state.items()}}, file)
    _, prior, ignored = load_net2net(file, HEADS, image_size=SIDE)
    assert ignored == ["first_stage_model.loss.logvar"]
    expected = load_net2net(checkpoint(tmp_path, maps=True)[0], HEADS, image_size=SIDE)[1]
    for weights, other in zip(prior.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (weights, other)))


@pytest.mark.parametrize(
    "options, lacking, named",
    [
        ({"num_heads": 5}, None, "num_heads.*divisor of the transformer's width 16"),
        ({"num_classes": 3}, None, "num_classes.*condition of .* is a label map"),
        ({"image_size": 32}, None, "128 positions"),
        ({}, "transformer.head.weight", "no head"),
        ({}, "transformer.blocks.1.ln2.bias", "blocks.1.ln2.bias"),
        ({}, "transformer.pos_emb", "without the tables of a transformer"),
        ({}, "cond_stage_model.decoder.conv_out.bias", "decoder.conv_out.bias"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, options, lacking, named):
    file, _ = checkpoint(tmp_path, maps=True, lacking=lacking)
    with pytest.raises(ValueError, match=named):
        load_net2net(file, **{"num_heads": HEADS, "image_size": SIDE, **options})


def test_fewer_tokens_than_codes_or_classes_are_named(tmp_path):
    file, _ = checkpoint(tmp_path, vocabulary=CODES - 1, maps=True)
    with pytest.raises(ValueError, match="19 tokens.*at least 20"):
        load_net2net(file, HEADS, image_size=SIDE)
    file, _ = checkpoint(tmp_path)
    with pytest.raises(ValueError, match="20 tokens.*at least 21"):
        load_net2net(file, HEADS, num_classes=21, image_size=SIDE)


def test_the_convert_command_writes_a_generator_of_maps_or_two_presets(tmp_path, capsys):
    options = ["--image-size", str(SIDE), "--num-heads", str(HEADS)]
    file, parts = checkpoint(tmp_path, maps=True)
    command(["convert", str(file), str(tmp_path / "generator"), *options])
    assert isinstance(keras_regvq.from_preset(tmp_path / "generator"), models.SemanticToImage)
    printed = capsys.readouterr().out
    assert "2 layers of width 16; condition: label maps of 5 labels" in printed
    assert "left aside, no part of a tokenizer or prior: 1 x first_stage_model.loss" in printed

    file, parts = checkpoint(tmp_path)
    options += ["--num-classes", "7"]
    command(["convert", str(file), str(tmp_path / "both"), *options])
    prior = keras_regvq.from_preset(tmp_path / "both" / "prior")
    check_prior(prior, parts["transformer"], torch.tensor([[6], [2]]), np.int32([6, 2]))
    tokenizer = keras_regvq.from_preset(tmp_path / "both" / "tokenizer")
    assert tokenizer.codebook_size == CODES
    parameters = sum(p.numel() for p in parts["transformer"].parameters())
    # 64 positions are of no use here; 7 classes and the start have rows of their own.
    assert f"{parameters + (7 + 1 - 64) * WIDTH:,} parameters" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="--to.*taming"):
        command(["convert", str(file), str(tmp_path / "both"), *options, "--to", "taming"])

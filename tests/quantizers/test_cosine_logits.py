"""Quantizers with cosine logits, against the one-hot PyTorch reference of unit-length codes."""

import keras
import numpy as np
import pytest
import torch

from benchmarks.plain_torch import quantizers as plain
from keras_regvq.quantizers import GumbelQuantizer, RegularizedQuantizer
from keras_regvq.quantizers.dither import dither_offsets
from tests.gradients import assert_close
from tests.quantizers.reference import (
    BATCH,
    CODE_WIDTH,
    CODES,
    GRIDS,
    HEIGHT,
    LENGTH,
    WIDTH,
    assert_same_gradients,
    differentiate,
    make,
)

SCALE = 4.0
REGULARIZED = {"mask_ratio": 0.4, "prior_weight": 2.0, "temperature": 0.5}
KINDS = {
    "regularized": (RegularizedQuantizer, plain.RegularizedQuantizer, REGULARIZED),
    "gumbel": (GumbelQuantizer, plain.GumbelQuantizer, {"kl_weight": 2.0}),
}


def reference(module, features, codebook, upstream, arguments):
    """Outputs, value and gradients of a plain quantizer whose logits are scaled cosines."""
    table = torch.tensor(codebook).double().requires_grad_()
    inputs = torch.tensor(features).double().requires_grad_()
    unit_codes, unit_inputs = (v / v.norm(dim=-1, keepdim=True) for v in (table, inputs))
    weights = {
        "embed.weight": unit_codes,
        "proj.weight": SCALE * unit_codes[..., None, None],
        "proj.bias": torch.zeros(CODES).double(),
    }
    rows = unit_inputs.permute(0, 3, 1, 2)
    result = torch.func.functional_call(module, weights, (rows,), arguments)
    embeddings = result["embeddings"].permute(0, 2, 3, 1)
    value = (embeddings * torch.tensor(upstream)).sum() + sum(result["losses"].values())
    pulls = torch.autograd.grad(value, (inputs, table))
    gradients = {"inputs": pulls[0].numpy(), "codebook": pulls[1].numpy()}
    return {**result, "embeddings": embeddings.detach()}, value.item(), gradients


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block_size", [4096, 5])
def test_outputs_losses_and_gradients_equal_the_reference(kind, block_size, script, rng):
    ours, theirs, options = KINDS[kind]
    features = 3 * rng.normal(size=(BATCH, HEIGHT, WIDTH, CODE_WIDTH)).astype("float32")
    upstream = rng.normal(size=features.shape).astype("float32")
    extra = {"logits": "cosine", "scale": SCALE, "block_size": block_size}
    layer = make(ours, rng, CODE_WIDTH, **options, **extra)
    assert [v.name for v in layer.trainable_variables] == ["codebook"]
    draws = script(round(0.4 * LENGTH) if kind == "regularized" else LENGTH)
    outputs, value, gradients = differentiate(layer, features, upstream, training=True)

    if kind == "regularized":
        options = {**options, "prior_scope": "batch", "prior_estimator": "soft"}
    module = theirs(CODES, CODE_WIDTH, feature_channels=CODE_WIDTH, **options).double()
    arguments = {"noise": torch.tensor(draws.gumbel)}
    if kind == "regularized":
        arguments["mask"] = torch.tensor(draws.mask.reshape(BATCH, HEIGHT, WIDTH))
    codebook = keras.ops.convert_to_numpy(layer.codebook.value)
    expected = reference(module, features, codebook, upstream, arguments)
    for name in GRIDS:
        np.testing.assert_array_equal(outputs[name], expected[0][name].numpy())
    assert (outputs["tokens"] != outputs["best_tokens"]).any()
    assert_close(outputs["embeddings"], expected[0]["embeddings"].numpy())
    assert_close(value, expected[1])
    assert_same_gradients(gradients, expected[2])


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_code_is_that_of_the_largest_cosine_and_of_length_1(kind, rng):
    layer = make(KINDS[kind][0], rng, CODE_WIDTH, logits="cosine")
    features = rng.normal(size=(2, 3, 4, CODE_WIDTH)).astype("float32")
    codes = keras.ops.convert_to_numpy(layer.codebook.value)
    codes /= np.linalg.norm(codes, axis=-1, keepdims=True)
    expected = (features @ codes.T).argmax(-1)
    for tokens in (layer.best_tokens(features), layer.exported_tokens(features)):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(tokens), expected)
    result = layer(features)
    assert_close(keras.ops.convert_to_numpy(result["embeddings"]), codes[expected])
    assert_close(keras.ops.convert_to_numpy(layer.embed(expected)), codes[expected])
    again = type(layer).from_config(layer.get_config())
    assert (again.logits, again.scale) == ("cosine", 10.0)


@pytest.mark.parametrize("size", [(8, 4), pytest.param((5, 6), marks=pytest.mark.seldom)])
def test_dither_moves_the_features_of_each_place_by_an_offset_of_its_own(size, rng):
    layer = make(RegularizedQuantizer, rng, CODE_WIDTH, logits="cosine", dither=0.5)
    features = 3 * rng.normal(size=(2, *size, CODE_WIDTH)).astype("float32")
    offsets = keras.ops.convert_to_numpy(dither_offsets(CODE_WIDTH, *size))
    np.testing.assert_allclose(np.linalg.norm(offsets, axis=-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(offsets[4:], offsets[: size[0] - 4])
    np.testing.assert_array_equal(offsets[:, 4:], offsets[:, : size[1] - 4])
    assert len(np.unique(offsets[:4, :4].reshape(16, -1), axis=0)) == 16
    codes = keras.ops.convert_to_numpy(layer.codes())
    rows = features / np.linalg.norm(features, axis=-1, keepdims=True) + 0.5 * offsets
    expected = (rows @ codes.T).argmax(-1)
    assert (expected != (features @ codes.T).argmax(-1)).any()
    for tokens in (layer.best_tokens(features), layer.exported_tokens(features)):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(tokens), expected)
    result = layer(features, training=True)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(result["best_tokens"]), expected)
    assert type(layer).from_config(layer.get_config()).dither == 0.5


def test_features_of_another_width_unknown_logits_and_scale_0_are_refused():
    layer = RegularizedQuantizer(CODES, CODE_WIDTH, logits="cosine")
    with pytest.raises(ValueError, match="`features`.*5 channels.*embedding_dim=3"):
        layer.build((None, None, None, 5))
    with pytest.raises(ValueError, match="`logits`.*'dot'.*'linear', 'cosine'"):
        RegularizedQuantizer(CODES, CODE_WIDTH, logits="dot")
    with pytest.raises(ValueError, match="`scale`.*above 0"):
        RegularizedQuantizer(CODES, CODE_WIDTH, scale=0)
    with pytest.raises(ValueError, match="`dither`.*linear"):
        RegularizedQuantizer(CODES, CODE_WIDTH, dither=0.3)

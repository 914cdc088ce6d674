"""LFQ and BSQ against their formulas, with a softmax over all codes, written out in PyTorch."""

import keras
import numpy as np
import pytest
import torch
from keras import ops

from keras_regvq.quantizers import LookupFreeQuantizer
from tests.gradients import BACKEND, assert_close, layer_gradients, layer_outputs

OPTIONS = {"entropy_weight": 0.3, "diversity": 0.7, "commitment_weight": 0.2}


def published(features, bits, spherical, temperature):
    """What the papers compute, in float64: a distance to each of 2^bits codes."""
    features = torch.tensor(features.astype("float64"), requires_grad=True)
    e = features / features.norm(dim=-1, keepdim=True) if spherical else features
    signs = torch.tensor([[(n >> i & 1) * 2 - 1 for i in range(bits)] for n in range(2**bits)])
    codes = signs.double() / (bits**0.5 if spherical else 1)
    distances = ((e[..., None, :] - codes) ** 2).sum(-1)
    p = torch.softmax(-distances / temperature, dim=-1)
    log_p = torch.log_softmax(-distances / temperature, dim=-1)
    mean = p.flatten(0, -2).mean(0)
    entropy = -(p * log_p).sum(-1).mean()
    divergence = (mean * torch.log(2**bits * mean + 1e-10)).sum()
    tokens = distances.argmin(-1)
    losses = {
        "entropy": 0.3 * (entropy + 0.7 * divergence),
        "commitment": 0.2 * ((e - codes[tokens]) ** 2).mean(),
    }
    return features, e + (codes[tokens] - e).detach(), tokens.numpy(), losses


@pytest.mark.parametrize(
    ("bits", "temperature", "spherical"),
    [(5, 1.0, False), (5, 1.0, True), (4, 0.1, False), (4, 0.1, True), (1, 0.5, False)],
)
def test_codes_losses_and_gradients_are_the_published_ones(bits, temperature, spherical, rng):
    features = rng.normal(size=(2, 3, 4, bits)).astype("float32")
    upstream = rng.normal(size=features.shape).astype("float32")
    layer = LookupFreeQuantizer(bits, spherical, temperature=temperature, **OPTIONS)
    layer.build(features.shape)

    def loss(outputs):
        total = ops.sum(outputs["embeddings"] * ops.convert_to_tensor(upstream))
        return total + sum(outputs["losses"].values())

    outputs, _, gradients = layer_gradients(layer, features, loss, training=True)
    inputs, embeddings, tokens, losses = published(features, bits, spherical, temperature)
    ((embeddings * torch.tensor(upstream)).sum() + sum(losses.values())).backward()

    assert len(np.unique(tokens)) > 1 and not layer.weights
    np.testing.assert_array_equal(outputs["tokens"], tokens)
    assert_close(outputs["embeddings"], embeddings.detach().numpy())
    for name, value in losses.items():
        assert_close(outputs["losses"][name], value.item())
    assert_close(gradients["inputs"], inputs.grad.numpy())
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.best_tokens(features)), tokens)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.exported_tokens(features)), tokens)
    assert_close(layer.embed(tokens), embeddings.detach().numpy())


def test_the_codes_are_all_signs_in_the_order_of_the_tokens():
    layer = LookupFreeQuantizer(3)
    expected = [[-1 + 2 * (n >> i & 1) for i in range(3)] for n in range(8)]
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.codes()), expected)
    sphere = ops.convert_to_numpy(LookupFreeQuantizer(3, spherical=True).codes())
    np.testing.assert_allclose(np.linalg.norm(sphere, axis=-1), 1, rtol=1e-6)


def test_the_entropies_of_far_features_are_finite(rng):
    """At the default temperature a feature of 1 is 400 apart from the other sign's logit."""
    features = 50 * rng.normal(size=(2, 4, 4, 6)).astype("float32")
    layer = LookupFreeQuantizer(6)
    layer.build(features.shape)
    outputs, _, gradients = layer_gradients(
        layer, features, lambda outputs: sum(outputs["losses"].values()), training=True
    )
    assert np.isfinite(gradients["inputs"]).all() and np.isfinite(outputs["losses"]["entropy"])
    used = np.bincount(outputs["tokens"].ravel(), minlength=64) / 32  # each choice is sure
    used = used[used > 0]
    assert_close(outputs["losses"]["entropy"], 0.1 * (used * np.log(64 * used)).sum(), 1e-4)


def test_without_their_weight_the_entropies_are_not_computed(rng):
    """Of 2^24 codes a table would be 64 MB, of 2^30 four gigabytes."""
    features = rng.normal(size=(1, 2, 2, 30)).astype("float32")
    layer = LookupFreeQuantizer(30, entropy_weight=0)
    layer.build(features.shape)
    outputs = layer_outputs(layer, features, training=True)
    assert outputs["losses"]["entropy"] == 0 and outputs["tokens"].max() < 2**30
    assert_close(layer.embed(outputs["tokens"]), np.sign(features))


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX shows the shapes of a whole computation")
def test_nothing_as_large_as_positions_times_codes_is_held():
    import jax

    from tests.quantizers.test_memory import largest_intermediate

    layer = LookupFreeQuantizer(14)
    layer.build((None, None, None, 14))

    def loss(features):
        return layer(features, training=True)["losses"]["entropy"]

    features = np.zeros((8, 16, 16, 14), "float32")
    largest = largest_intermediate(jax.make_jaxpr(jax.grad(loss))(features).jaxpr)
    assert largest <= 2048 * 2**7 * 2 < 2048 * 2**14 / 50


@pytest.mark.parametrize("options", [{"bits": 31}, {"bits": 0}, {"bits": 4, "temperature": 0}])
def test_wrong_arguments_are_named(options):
    with pytest.raises(ValueError, match=f"`{list(options)[-1]}`"):
        LookupFreeQuantizer(**options)


def test_half_precision_policies_do_not_change_tokens(rng, policy):
    features = rng.normal(size=(1, 4, 4, 8)).astype("float32")
    before = LookupFreeQuantizer(8)
    before.build(features.shape)
    policy("mixed_bfloat16")
    after = LookupFreeQuantizer(8)
    after.build(features.shape)
    for name in ("tokens", "embeddings"):
        first, second = (layer_outputs(layer, features)[name] for layer in (before, after))
        np.testing.assert_array_equal(first, second)
    assert keras.backend.standardize_dtype(after.codes().dtype) == "float32"

"""RQ: each stage quantizes what is left, against PyTorch and vector-quantize-pytorch."""

import keras
import numpy as np
import pytest
import torch
import vector_quantize_pytorch as peers
from keras import ops

from keras_regvq import quantizers
from keras_regvq.quantizers import ResidualQuantizer, VectorQuantizer
from tests.gradients import assert_close, layer_gradients, layer_outputs

CODES, WIDTH, STAGES = 9, 4, 3


@pytest.fixture
def features(rng):
    return rng.normal(size=(2, 3, 4, WIDTH)).astype("float32")


def make(stage, shared=False, num_stages=STAGES, **options):
    layer = ResidualQuantizer(stage, num_stages, shared, **options)
    layer.build((None, None, None, WIDTH))
    return layer


def randomize(layer, rng):
    """Give each weight values of the features' size, and return them."""
    tables = [rng.normal(size=w.shape).astype("float32") for w in layer.trainable_variables]
    for weight, table in zip(layer.trainable_variables, tables, strict=True):
        weight.assign(table)
    return tables


def nearest(left, table):
    return ((left[..., None, :] - table) ** 2).sum(-1).argmin(-1)


@pytest.mark.parametrize("shared", [True, False])
def test_outputs_losses_and_gradients_are_the_papers(shared, features, rng):
    upstream = rng.normal(size=features.shape).astype("float32")
    layer = make(VectorQuantizer(CODES, WIDTH, commitment_weight=0.3), shared)
    tables = randomize(layer, rng)

    def loss(outputs):
        total = ops.sum(outputs["embeddings"] * ops.convert_to_tensor(upstream))
        return total + sum(outputs["losses"].values())

    outputs, _, gradients = layer_gradients(layer, features, loss, training=True)

    e = torch.tensor(features.astype("float64"), requires_grad=True)
    tables = [torch.tensor(t.astype("float64"), requires_grad=True) for t in tables]
    tokens, partial, commitment, codebook = [], torch.zeros_like(e), 0.0, 0.0
    for stage in range(STAGES):
        table = tables[0 if shared else stage]
        tokens.append(nearest((e - partial).detach(), table))
        codebook += ((e.detach() - partial - table[tokens[-1]]) ** 2).mean()
        partial = (partial + table[tokens[-1]]).detach()
        commitment += 0.3 * ((e - partial) ** 2).mean()  # of the partial sum, as in the paper
    total = ((e + (partial - e).detach()) * torch.tensor(upstream)).sum()
    (total + codebook + commitment).backward()

    assert len(layer.trainable_variables) == len(tables) == (1 if shared else STAGES)
    assert len({token.item() for token in torch.stack(tokens).flatten()}) > 5
    np.testing.assert_array_equal(outputs["tokens"], torch.stack(tokens, -1).numpy())
    np.testing.assert_array_equal(outputs["best_tokens"], outputs["tokens"])
    assert_close(outputs["embeddings"], partial.numpy())
    assert_close(outputs["losses"]["codebook"], codebook.item())
    assert_close(outputs["losses"]["commitment"], commitment.item())
    assert_close(gradients.pop("inputs"), e.grad.numpy())
    assert_close(list(gradients.values()), [table.grad.numpy() for table in tables])
    assert not outputs["mask"].any() and not outputs["perturbation"].any()


@pytest.mark.parametrize("shared", [True, False])
def test_it_agrees_with_vector_quantize_pytorch(shared, features, rng):
    layer = make(VectorQuantizer(CODES, WIDTH, commitment_weight=1.0), shared)
    tables = randomize(layer, rng)
    peer = peers.ResidualVQ(
        dim=WIDTH, num_quantizers=STAGES, codebook_size=CODES, shared_codebook=shared,
        learnable_codebook=True, ema_update=False, rotation_trick=False, commitment_weight=1.0,
    )  # fmt: skip
    for stage, part in enumerate(peer.layers):
        table = torch.tensor(tables[0 if shared else stage])[None]
        part._codebook.embed.data.copy_(table)
    outputs, _, gradients = layer_gradients(
        layer, features, lambda outputs: sum(outputs["losses"].values()), training=True
    )
    e = torch.tensor(features.reshape(2, 12, WIDTH), requires_grad=True)
    quantized, tokens, losses = peer(e)
    losses.sum().backward()
    np.testing.assert_array_equal(outputs["tokens"], tokens.reshape(2, 3, 4, STAGES).numpy())
    assert_close(outputs["embeddings"], quantized.detach().reshape(features.shape).numpy())
    # There one loss moves both sides: here half of what is logged, with the same gradient.
    assert_close(sum(outputs["losses"].values()), 2 * losses.sum().item())
    assert_close(gradients.pop("inputs"), e.grad.reshape(features.shape).numpy())
    own = [part._codebook.embed.grad[0].numpy() for part in peer.layers]
    assert_close(list(gradients.values()), own[: len(gradients)])


def test_signs_are_halved_from_stage_to_stage(features):
    layer = make(quantizers.LookupFreeQuantizer(WIDTH))
    outputs = layer_outputs(layer, features)
    # Three stages of signs 1, 1/2 and 1/4 are the 8 levels that are nearest to a feature.
    levels = np.arange(-7, 8, 2) / 4
    expected = levels[np.abs(features[..., None] - levels).argmin(-1)]
    np.testing.assert_allclose(outputs["embeddings"], expected)
    assert layer.scale == 0.5 and layer.weights == []
    bits = np.stack([outputs["tokens"] >> bit & 1 for bit in range(WIDTH)], axis=-2)
    np.testing.assert_allclose((2 * bits - 1) @ [1, 0.5, 0.25], expected)


def test_the_first_stages_alone_are_a_coarser_code(features, rng):
    layer = make(VectorQuantizer(CODES, WIDTH), scale=0.5)
    randomize(layer, rng)
    tokens = ops.convert_to_numpy(layer.best_tokens(features))
    codes = ops.convert_to_numpy(layer.codes())
    assert tokens.shape == (2, 3, 4, STAGES) and codes.shape == (STAGES, CODES, WIDTH)
    sums = np.cumsum([codes[s][tokens[..., s]] for s in range(STAGES)], axis=0)
    for given in (tokens, ops.convert_to_tensor(tokens)):
        for count in range(1, STAGES + 1):
            assert_close(layer.embed(given[..., :count]), sums[count - 1])
    tables = [ops.convert_to_numpy(stage.codes()) for stage in layer.stages]
    np.testing.assert_allclose(codes, [t * 0.5**s for s, t in enumerate(tables)], rtol=1e-6)
    exported = layer.exported_tokens(ops.convert_to_tensor(features))
    np.testing.assert_array_equal(ops.convert_to_numpy(exported), tokens)


def test_stages_that_sample_are_best_as_without_noise(features, rng):
    stage = quantizers.RegularizedQuantizer(CODES, WIDTH, mask_ratio=0.5, seed=1)
    layer = make(stage)
    assert [s.seed for s in layer.stages] == [1, 2, 3]
    for weight in layer.trainable_variables:
        weight.assign(rng.normal(size=weight.shape))
    trained = layer_outputs(layer, features, training=True)
    used = layer_outputs(layer, features)
    np.testing.assert_array_equal(trained["best_tokens"], used["tokens"])
    assert trained["mask"].shape == (2, 3, 4, STAGES)
    assert (trained["mask"].sum((1, 2)) == 6).all()
    draws = trained["mask"].transpose(3, 0, 1, 2).reshape(STAGES, -1)
    assert not (draws[0] == draws[1]).all() and not (draws[1] == draws[2]).all()
    assert (trained["tokens"] != trained["best_tokens"]).any()
    codes = ops.convert_to_numpy(layer.codes())
    chosen, best = (
        sum(codes[s][trained[name][..., s]] for s in range(STAGES))
        for name in ("tokens", "best_tokens")
    )
    assert_close(trained["embeddings"], chosen)
    assert_close(trained["perturbation"], np.square(chosen - best).sum(-1))
    assert set(trained["losses"]) == {"prior"} == set(layer.loss_names)


def test_gradients_of_stages_with_logits_add_up(features, rng):
    upstream = rng.normal(size=features.shape)
    # Without a mask nothing is drawn: argmax l, with the gradient of softmax(l).
    layer = make(quantizers.RegularizedQuantizer(CODES, WIDTH, mask_ratio=0.0, prior_weight=0.5))
    values = randomize(layer, rng)

    def loss(outputs):
        total = ops.sum(outputs["embeddings"] * ops.convert_to_tensor(upstream, "float32"))
        return total + sum(outputs["losses"].values())

    outputs, _, gradients = layer_gradients(layer, features, loss, training=True)

    values = [torch.tensor(value.astype("float64"), requires_grad=True) for value in values]
    e = torch.tensor(features.astype("float64"), requires_grad=True)
    left, total, prior = e, 0.0, 0.0
    for stage in range(STAGES):
        codebook, kernel, bias = values[3 * stage : 3 * stage + 3]
        soft = (left @ kernel + bias).softmax(-1)
        hard = torch.nn.functional.one_hot(soft.argmax(-1), CODES).double()
        # The codes get the gradient of the hard choice, the logits that of the soft one.
        code = hard @ codebook + (soft - soft.detach()) @ codebook.detach()
        left, total = left - code.detach(), total + code
        mean = soft.mean((0, 1, 2))
        prior += 0.5 * (np.log(CODES) + (mean * mean.log()).sum())
    ((total * torch.tensor(upstream)).sum() + prior).backward()
    assert_close(outputs["embeddings"], total.detach().numpy())
    assert_close(outputs["losses"]["prior"], prior.item())
    assert_close(gradients.pop("inputs"), e.grad.numpy())
    for gradient, value in zip(gradients.values(), values, strict=True):
        assert_close(gradient, value.grad.numpy())


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (lambda: "vq", {"num_stages": 2}, "quantizers.*'vq'"),
        (lambda: VectorQuantizer(4, 4), {}, "num_stages.*1.*at least 2"),
        (lambda: VectorQuantizer(4, 4), {"num_stages": 257}, "num_stages.*257.*at most 256"),
        (lambda: [VectorQuantizer(4, 4)], {}, "quantizers.*1 in a list.*at least two"),
        (lambda: [VectorQuantizer(4, 4)] * 2, {}, "quantizers.*2 in a list.*another one"),
        (
            lambda: [VectorQuantizer(4, 4), VectorQuantizer(5, 4)],
            {},
            r"quantizers.*codebook_size \[4, 5\]",
        ),
        (
            lambda: [VectorQuantizer(4, 3), VectorQuantizer(4, 4)],
            {},
            r"quantizers.*embedding_dim \[3, 4\]",
        ),
        (
            lambda: [VectorQuantizer(4, 4), VectorQuantizer(4, 4)],
            {"num_stages": 3},
            "num_stages.*3.*2, as many",
        ),
        (
            lambda: [VectorQuantizer(4, 4), VectorQuantizer(4, 4)],
            {"shared_codebook": True},
            "shared_codebook.*True, with a list",
        ),
        (lambda: VectorQuantizer(4, 4), {"num_stages": 2, "scale": 0}, "scale.*above 0"),
        (
            lambda: ResidualQuantizer(VectorQuantizer(4, 4), 2),
            {"num_stages": 2},
            "a ResidualQuantizer as a stage",
        ),
        (
            lambda: quantizers.FiniteScalarQuantizer((4, 4)),
            {"num_stages": 2},
            "FiniteScalarQuantizer, whose codes are near the tanh.*more `levels`",
        ),
        (
            lambda: VectorQuantizer(4, 4, normalize=True),
            {"num_stages": 2},
            "normalize=True, which sees what is left without its length",
        ),
        (
            lambda: quantizers.GumbelQuantizer(4, 4, logits="cosine"),
            {"num_stages": 2},
            "logits='cosine', which sees what is left without its length",
        ),
        (
            lambda: quantizers.LookupFreeQuantizer(4, spherical=True),
            {"num_stages": 2},
            "spherical=True, which sees what is left without its length",
        ),
    ],
)
def test_what_is_no_residual_is_refused_with_the_reason(given, options, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        ResidualQuantizer(given(), **options)


def test_stages_of_a_seeded_initializer_differ():
    seeded = keras.initializers.RandomNormal(seed=0)
    layer = ResidualQuantizer(VectorQuantizer(4, 2, codebook_initializer=seeded), 3, False)
    layer.build((None, None, None, 2))
    codes = [keras.ops.convert_to_numpy(stage.codebook).tobytes() for stage in layer.stages]
    assert len(set(codes)) == 3


def test_tokens_of_another_shape_are_refused():
    layer = make(VectorQuantizer(CODES, WIDTH))
    for tokens, message in (
        (np.zeros((1, 2, 2), int), r"shape \(1, 2, 2\).*\(B, h, w, 3\) in \[0, 8\]"),
        (np.zeros((1, 2, 2, 4), int), r"shape \(1, 2, 2, 4\).*\(B, h, w, 3\), or fewer"),
        (np.full((1, 2, 2, 3), 9), r"tokens from 9 to 9.*\[0, 8\]"),
        (ops.zeros((1, 2, 2, 4), "int32"), "1 to 3 tokens in the last axis"),
        (ops.zeros((1, 2, 2, 3)), "integers"),
    ):
        with pytest.raises(ValueError, match=f"(?s){message}"):
            layer.embed(tokens)
    with pytest.raises(ValueError, match="features.*4"):
        ResidualQuantizer(VectorQuantizer(4, 4), 2).build((1, 2, 2, 5))


@pytest.mark.parametrize("shared", [True, False, None])
def test_a_saved_layer_comes_back_with_its_weights(shared, features, rng, tmp_path):
    stage = quantizers.SimVQQuantizer(CODES, WIDTH)
    if shared is None:
        stage = [quantizers.SimVQQuantizer(CODES, WIDTH), VectorQuantizer(CODES, WIDTH)]
    inputs = keras.Input((3, 4, WIDTH))
    layer = ResidualQuantizer(stage, None if shared is None else 2, shared)
    model = keras.Model(inputs, layer(inputs))
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    paths = [weight.path for weight in model.weights]
    assert len(paths) == len(set(paths)) == {True: 2, False: 4, None: 3}[shared]
    first, second = model(features), loaded(features)
    for name in ("tokens", "embeddings"):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (first[name], second[name])))


@pytest.mark.parametrize("shared", [True, False])
def test_each_stages_projection_learns(features, shared):
    layer = make(VectorQuantizer(CODES, WIDTH, projection_dim=2), shared)
    _, _, gradients = layer_gradients(
        layer, features, lambda outputs: ops.sum(outputs["embeddings"]), training=True
    )
    # Each position of each stage adds the bias once; of weights of their own, the last stage's.
    expected = features[..., 0].size * (STAGES if shared else 1)
    np.testing.assert_allclose(gradients["project_out/bias"], np.full(WIDTH, expected), rtol=1e-5)

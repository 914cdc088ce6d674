"""FSQ against its published formula, written out in PyTorch."""

import itertools

import keras
import numpy as np
import pytest
import torch
from keras import ops

from keras_regvq.quantizers import FiniteScalarQuantizer
from tests.gradients import assert_close, layer_gradients, layer_outputs

EVERY_LEVELS = [(8, 5, 5, 5), (2, 3, 4), (7, 6), (1000,)]


def published(features, levels):
    """vector-quantize-pytorch's FSQ in float64: codes, tokens, and the features to differentiate.

    Its eps is 1e-3. Tokens count the levels by loops: the first channel's are the fastest.
    """
    features = torch.tensor(np.asarray(features, "float64"), requires_grad=True)
    columns, tokens, place = [], 0, 1
    for channel, count in enumerate(levels):
        half = (count - 1) * (1 + 1e-3) / 2
        offset = 0.5 if count % 2 == 0 else 0.0
        shift = np.arctanh(offset / half)
        bounded = torch.tanh(features[..., channel] + shift) * half - offset
        level = bounded + (bounded.round() - bounded).detach()
        columns.append(level / (count // 2))
        tokens = tokens + place * (level.detach().round().long() + count // 2)
        place *= count
    return torch.stack(columns, dim=-1), tokens.numpy(), features


def built(levels):
    layer = FiniteScalarQuantizer(levels)
    layer.build((None, None, None, len(levels)))
    return layer


@pytest.fixture
def features_of(rng):
    def make(levels):
        return (2 * rng.normal(size=(2, 5, 6, len(levels)))).astype("float32")

    return make


@pytest.mark.parametrize("levels", EVERY_LEVELS)
def test_codes_tokens_and_gradients_are_the_published_ones(levels, features_of, rng):
    features = features_of(levels)
    upstream = rng.normal(size=features.shape).astype("float32")
    layer = built(levels)
    outputs, _, gradients = layer_gradients(
        layer,
        features,
        lambda outputs: ops.sum(outputs["embeddings"] * ops.convert_to_tensor(upstream)),
        training=True,
    )
    codes, tokens, inputs = published(features, levels)
    (codes * torch.tensor(upstream)).sum().backward()

    assert len(np.unique(tokens)) > 3
    for name in ("tokens", "best_tokens"):
        np.testing.assert_array_equal(outputs[name], tokens)
    assert outputs["tokens"].dtype == "int32"
    assert_close(outputs["embeddings"], codes.detach().numpy(), relative=1e-6)
    assert_close(gradients["inputs"], inputs.grad.numpy())
    assert set(gradients) == {"inputs"} and outputs["losses"] == {}
    assert not outputs["mask"].any() and not outputs["perturbation"].any()
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.best_tokens(features)), tokens)
    assert_close(layer.embed(tokens), codes.detach().numpy(), relative=1e-6)


@pytest.mark.parametrize("levels", EVERY_LEVELS)
def test_every_level_is_reached_and_none_beyond(levels):
    for channel, count in enumerate(levels):
        features = np.zeros((1, 1, 40001, len(levels)), "float32")
        features[..., channel] = np.linspace(-20, 20, 40001)
        codes = layer_outputs(built(levels), features)["embeddings"][..., channel]
        reached = np.unique(np.round(codes * (count // 2)))
        if count < 1000:  # its levels lie closer than the features
            assert len(reached) == count
        assert reached.min() == -(count // 2) and reached.max() == (count - 1) // 2


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (2, 3, 4)])
def test_the_codes_are_all_combinations_of_levels_in_the_order_of_the_tokens(levels):
    layer = FiniteScalarQuantizer(levels)
    assert (layer.codebook_size, layer.embedding_dim) == (np.prod(levels), len(levels))
    steps = [[(n - count // 2) / (count // 2) for n in range(count)] for count in levels]
    # itertools.product counts with the last place fastest, tokens with the first.
    expected = [combination[::-1] for combination in itertools.product(*steps[::-1])]
    codes = ops.convert_to_numpy(layer.codes())
    np.testing.assert_allclose(codes, expected, rtol=1e-6)
    assert np.abs(codes).max() == 1


@pytest.mark.parametrize("dtype_policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_half_precision_policies_do_not_change_tokens(dtype_policy, features_of, policy):
    features = features_of((8, 5, 5, 5))
    before = layer_outputs(built((8, 5, 5, 5)), features)
    policy(dtype_policy)
    layer = built((8, 5, 5, 5))
    after = layer_outputs(layer, features)
    for name in ("tokens", "embeddings"):
        np.testing.assert_array_equal(after[name], before[name])

    half = keras.config.dtype_policy().compute_dtype
    rounded = ops.cast(features, half)
    _, expected, _ = published(ops.convert_to_numpy(ops.cast(rounded, "float32")), (8, 5, 5, 5))
    np.testing.assert_array_equal(layer_outputs(layer, rounded)["tokens"], expected)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.best_tokens(rounded)), expected)


def test_features_that_are_not_numbers_still_have_a_token_of_the_codebook():
    """In a float16 step that overflowed, which is skipped and must not raise."""
    tokens = layer_outputs(built((8, 5)), np.full((1, 2, 2, 2), np.nan, "float32"))["tokens"]
    assert (tokens >= 0).all() and (tokens < 40).all()


def test_the_configuration_survives_a_round_trip_through_json():
    import json

    layer = FiniteScalarQuantizer([8, 5], name="fsq")
    assert layer.levels == (8, 5)
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    copy = keras.saving.deserialize_keras_object(serialized)
    assert copy.levels == (8, 5) and copy.get_config() == layer.get_config()
    assert not built((8, 5)).weights


def test_symbolic_outputs_describe_the_real_ones(features_of):
    inputs = keras.Input((None, None, 2))
    model = keras.Model(inputs, FiniteScalarQuantizer((8, 5))(inputs))
    outputs = layer_outputs(model, features_of((8, 5)))
    for name, spec in model.output.items():
        if name != "losses":
            assert outputs[name].dtype == spec.dtype and outputs[name].ndim == len(spec.shape)


@pytest.mark.parametrize(
    ("levels", "received"),
    [((), r"\(\)"), (8, "8"), ((8, 1), "1"), ((8, 5.0), "5.0"), ((1001,), "1001"),
     ((1000, 1000, 1000, 3), "3000000000 codes")],
)  # fmt: skip
def test_wrong_levels_are_refused(levels, received):
    with pytest.raises(ValueError, match=rf"(?s)`levels`.*Received: .*{received}.*Expected: \w+"):
        FiniteScalarQuantizer(levels)


def test_features_as_wide_as_the_levels_are_needed():
    with pytest.raises(ValueError, match="(?s)`features`.*5 channels.*embedding_dim=4"):
        FiniteScalarQuantizer()(np.zeros((1, 2, 2, 5), "float32"))

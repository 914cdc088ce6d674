"""Every wrong input is a ValueError that names the argument, what it got and what it takes."""

import keras
import numpy as np
import pytest

from keras_regvq.quantizers import (
    GumbelQuantizer,
    RegularizedQuantizer,
    SimVQQuantizer,
    VectorQuantizer,
)

EVERY_QUANTIZER = [RegularizedQuantizer, GumbelQuantizer, VectorQuantizer]


def refuses(argument, received):
    return pytest.raises(
        ValueError, match=rf"(?s)`{argument}`.*Received: .*{received}.*Expected: \w+"
    )


@pytest.mark.parametrize("quantizer", EVERY_QUANTIZER)
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("codebook_size", 0),
        ("codebook_size", "many"),
        ("codebook_size", True),
        ("embedding_dim", 4.0),
        ("embedding_dim", -4),
        ("block_size", 0),
    ],
)
def test_sizes_must_be_positive_integers(quantizer, argument, value):
    arguments = {"codebook_size": 8, "embedding_dim": 4, argument: value}
    with refuses(argument, value):
        quantizer(**arguments)


@pytest.mark.parametrize(
    ("quantizer", "argument", "value"),
    [
        (RegularizedQuantizer, "mask_ratio", 1.2),
        (RegularizedQuantizer, "mask_ratio", -0.1),
        (RegularizedQuantizer, "mask_ratio", "0.4"),
        (RegularizedQuantizer, "temperature", 0),
        (RegularizedQuantizer, "temperature", float("nan")),
        (GumbelQuantizer, "temperature", -1.0),
        (GumbelQuantizer, "temperature", float("inf")),
        (RegularizedQuantizer, "prior_weight", -1),
        (RegularizedQuantizer, "prior_scope", "x"),
        (RegularizedQuantizer, "prior_estimator", None),
        (GumbelQuantizer, "kl_weight", float("nan")),
        (VectorQuantizer, "commitment_weight", -0.25),
        (VectorQuantizer, "ema", 1.0),
        (VectorQuantizer, "ema", -0.1),
        (VectorQuantizer, "ema", True),
        (VectorQuantizer, "codebook_start", "random"),
        (VectorQuantizer, "dead_code_threshold", -1.0),
        (VectorQuantizer, "dead_code_threshold", None),
        (VectorQuantizer, "projection_dim", 0),
        (VectorQuantizer, "projection_dim", 2.0),
        (SimVQQuantizer, "ema", 0.9),
        (SimVQQuantizer, "codebook_start", "kmeans"),
        (SimVQQuantizer, "dead_code_threshold", 0.5),
        (SimVQQuantizer, "projection_dim", 2),
    ],
)
def test_options_outside_their_range_are_refused(quantizer, argument, value):
    with refuses(argument, value):
        quantizer(8, 4, **{argument: value})


@pytest.mark.parametrize("quantizer", EVERY_QUANTIZER)
def test_features_must_have_four_axes(quantizer):
    flat = np.zeros((2, 6, 4), "float32")
    with refuses("features", r"\(2, 6, 4\)"):
        quantizer(8, 4)(flat)
    with refuses("features", r"\(None, 6, 4\)"):
        quantizer(8, 4)(keras.Input((6, 4)))
    layer = quantizer(8, 4)
    layer.build((None, None, None, 4))
    with refuses("features", r"\(2, 6, 4\)"):
        layer(flat)
    with refuses("features", r"\(2, 6, 4\)"):
        layer.best_tokens(flat)


def test_features_as_wide_as_the_codes_are_needed_by_the_vector_quantizer():
    with refuses("features", "5"):
        VectorQuantizer(8, 4)(np.zeros((2, 3, 2, 5), "float32"))
    with refuses("features", "5"):
        VectorQuantizer(8, 4)(keras.Input((3, 2, 5)))


@pytest.mark.parametrize("quantizer", EVERY_QUANTIZER)
def test_features_of_another_width_than_it_was_built_for_are_refused(quantizer):
    layer = quantizer(8, 4)
    layer.build((None, None, None, 4))
    with refuses("features", r"\(2, 3, 2, 5\)"):
        layer(np.zeros((2, 3, 2, 5), "float32"))
    with refuses("features", r"\(2, 3, 2, 5\)"):
        layer.best_tokens(np.zeros((2, 3, 2, 5), "float32"))


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize(
    ("tokens", "received"),
    [
        ([[[0.0, 1.0]]], "float"),
        ([[[0, 8]]], "0 to 8"),
        ([[[-1, 3]]], "-1 to 3"),
        ([[0, 1]], r"\(1, 2\)"),
    ],
)
def test_tokens_must_be_integers_of_the_codebook(tokens, received, as_array):
    layer = VectorQuantizer(8, 4)
    layer.build((None, None, None, 4))
    with refuses("tokens", received):
        layer.embed(np.asarray(tokens) if as_array else tokens)


def test_float_tensors_are_no_tokens():
    layer = VectorQuantizer(8, 4)
    layer.build((None, None, None, 4))
    with refuses("tokens", "float32"):
        layer.embed(keras.ops.zeros((1, 2, 2)))


def test_embed_takes_lists_arrays_and_tensors():
    layer = VectorQuantizer(8, 4)
    layer.build((None, None, None, 4))
    codebook = keras.ops.convert_to_numpy(layer.codebook.value)
    tokens = [[[7, 0], [3, 3]]]
    for given in (tokens, np.asarray(tokens), keras.ops.convert_to_tensor(tokens, "int32")):
        embeddings = keras.ops.convert_to_numpy(layer.embed(given))
        np.testing.assert_array_equal(embeddings, codebook[np.asarray(tokens)])

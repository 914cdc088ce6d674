"""Nothing of the size positions x codes is built."""

import keras
import numpy as np
import pytest

from keras_regvq.quantizers import (
    GumbelQuantizer,
    IndexBackpropagationQuantizer,
    RegularizedQuantizer,
    ResidualQuantizer,
    VectorQuantizer,
)
from tests.gradients import BACKEND


def sum_of_all(outputs):
    return keras.ops.sum(outputs["embeddings"]) + sum(outputs["losses"].values())


def two_stages(*size, **options):
    return ResidualQuantizer(VectorQuantizer(*size, **options), 2)


def largest_intermediate(jaxpr):
    """Elements of the largest array that any operation of a jaxpr makes, inner jaxprs too."""
    largest = 0
    for equation in jaxpr.eqns:
        sizes = [int(np.prod(v.aval.shape)) for v in equation.outvars]
        inner = [p for value in equation.params.values() for p in keras.tree.flatten(value)]
        inner = [getattr(p, "jaxpr", p) for p in inner]
        sizes += [largest_intermediate(p) for p in inner if hasattr(p, "eqns")]
        largest = max(largest, *sizes)
    return largest


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX shows the shapes of a whole computation")
@pytest.mark.parametrize(
    ("quantizer", "options"),
    [
        (RegularizedQuantizer, dict(prior_estimator="hard")),
        (RegularizedQuantizer, dict(prior_estimator="soft")),
        (GumbelQuantizer, {}),
        (VectorQuantizer, {}),
        (VectorQuantizer, dict(ema=0.9, codebook_start="kmeans", dead_code_threshold=0.5)),
        (IndexBackpropagationQuantizer, {}),
        (two_stages, {}),
    ],
)
def test_no_array_is_larger_than_positions_times_block(quantizer, options):
    import jax

    positions, codes, block = 2 * 8 * 8, 512, 64

    def sizes(block_size):
        layer = quantizer(codes, 3, block_size=block_size, **options)
        layer.build((None, None, None, 3))
        state = [variable.value for variable in layer.non_trainable_variables]

        def loss(weights, features, training):
            outputs, _ = layer.stateless_call(weights, state, features, training=training)
            return sum_of_all(outputs)

        weights = [variable.value for variable in layer.trainable_variables]
        features = np.zeros((2, 8, 8, 3), "float32")
        inference = jax.make_jaxpr(lambda w, x: loss(w, x, False))(weights, features)
        training = jax.make_jaxpr(
            lambda w, x: jax.grad(lambda *a: loss(*a, True), argnums=(0, 1))(w, x)
        )(weights, features)
        return largest_intermediate(inference.jaxpr), largest_intermediate(training.jaxpr)

    assert all(size <= positions * block for size in sizes(block))
    # The measure does see the full matrix where it is allowed.
    assert all(size >= positions * codes for size in sizes(codes)[:1])

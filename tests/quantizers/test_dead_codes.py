"""The hard prior revives codes that nothing uses."""

import numpy as np
import pytest

from keras_regvq.quantizers import RegularizedQuantizer
from tests.gradients import assert_close, layer_gradients

CODES = 11


@pytest.mark.parametrize("prior_scope", ["image", "batch"])
def test_dead_codes_get_a_large_finite_pull_from_the_hard_prior(prior_scope):
    layer = RegularizedQuantizer(
        CODES, 3, prior_weight=1.0, prior_estimator="hard", prior_scope=prior_scope, mask_ratio=0
    )
    layer.build((None, None, None, 5))
    bias = np.full(CODES, -1.0, "float32")
    bias[4] = 1.0  # every position takes code 4
    layer.bias.assign(bias)
    features = np.zeros((2, 3, 4, 5), "float32")
    outputs, value, gradients = layer_gradients(
        layer, features, lambda outputs: outputs["losses"]["prior"], training=True
    )
    assert (outputs["tokens"] == 4).all()
    assert_close(value, np.log(CODES))

    # dKL/dP_n = log(N P_n + 1e-10) + N P_n / (N P_n + 1e-10), through the softmax's Jacobian.
    slope = np.full(CODES, np.log(1e-10))
    slope[4] = np.log(CODES) + 1
    p = np.exp(bias.astype("float64")) / np.exp(bias.astype("float64")).sum()
    expected = p * (slope - (p * slope).sum())
    assert_close(gradients["logits_bias"], expected)
    dead = np.arange(CODES) != 4
    assert (gradients["logits_bias"][dead] < -0.1).all(), "gradient descent raises dead logits"
    assert np.isfinite(gradients["logits_bias"]).all()

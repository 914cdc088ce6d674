"""Weights divided among devices: a prior learns what it learns on one."""

import json
import os
import subprocess
import sys

import keras
import pytest

from keras_regvq.models import AutoregressivePrior

# In a process of its own: JAX divides its CPU before it is used.
SCRIPT = """
import json
import sys
import keras
import numpy as np
from keras_regvq import models

rng = np.random.default_rng(0)
data = {"tokens": rng.integers(0, 8, (8, 4, 4)), "condition": rng.integers(0, 3, 8)}


def autoregressive():
    return models.AutoregressivePrior(8, 4, 1, 4, 16, models.ClassCondition(3))


def diffusion():
    return models.DiffusionPrior(
        8, 4, channels=16, channel_multipliers=(1, 2), attention_levels=(1,), num_res_blocks=1,
        num_heads=4, condition=models.ClassCondition(3), seed=0,
    )


def train(make, weights, data):
    keras.utils.set_random_seed(0)
    prior = make()
    before = prior.get_weights() if weights is None else weights
    prior.set_weights(before)
    prior.compile(keras.optimizers.SGD(0.1))
    loss = prior.fit(data, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"]
    return before, prior, loss


found = {}
for make in (autoregressive, diffusion):
    keras.distribution.set_distribution(None)
    before, one, one_loss = train(make, None, data)
    for count in (2, 4):
        devices = keras.distribution.list_devices()[:count]
        mesh = keras.distribution.DeviceMesh((1, count), ("batch", "model"), devices)
        layout = type(one).get_layout_map(mesh)
        keras.distribution.set_distribution(
            keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
        )
        _, many, many_loss = train(make, before, data)
        divided = sum(not v.value.sharding.is_fully_replicated for v in many.trainable_variables)
        weights = list(zip(one.get_weights(), many.get_weights(), before))
        apart = max(np.abs(a - b).max() for a, b, _ in weights if a.dtype == "float32")
        moved = max(np.abs(a - c).max() for a, _, c in weights if a.dtype == "float32")
        found[f"{make.__name__} on {count}"] = [
            float(apart / moved), float(np.abs(np.subtract(one_loss, many_loss)).max()),
            divided / len(many.trainable_variables),
        ]
print(json.dumps(found))
"""


@pytest.mark.seldom
def test_a_prior_divided_among_2_and_4_devices_learns_what_it_learns_on_one():
    if keras.backend.backend() != "jax":  # the one backend with ModelParallel
        with pytest.raises(ValueError, match="`device_mesh`"):
            AutoregressivePrior.get_layout_map("two")
        return
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert len(found) == 4
    for apart, loss, divided in found.values():
        assert apart < 1e-4 and loss < 1e-5
        assert divided > 0.4

"""Training on several replicas is training on one, for every trainer."""

import json
import os
import subprocess
import sys

import keras
import pytest

from keras_regvq.backend.replicas import replica_count

# In a process of its own: TensorFlow divides its CPU in two only before it is used.
SCRIPT = """
import json
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

import keras
from keras_regvq.models import AutoregressivePrior, ImageTokenizer
from keras_regvq.models import LabelMapTokenizer
from keras_regvq.quantizers import VectorQuantizer
from keras_regvq.training import TokenizerTrainer

rng = np.random.default_rng(0)


def prior():
    return AutoregressivePrior(8, 2, 1, 1, 8), {"tokens": rng.integers(0, 8, (4, 2, 2))}


def label_maps():
    model = LabelMapTokenizer(3, 8, VectorQuantizer(8, 4), 4, (1,), 1, 4)
    maps = rng.integers(0, 3, (4, 8, 8))
    return model, tf.data.Dataset.from_tensor_slices(maps).batch(4)


def tokenizer():
    model = TokenizerTrainer(ImageTokenizer(8, VectorQuantizer(8, 4), 4, (1,), 1, (), 4))
    return model, rng.random((4, 8, 8, 3), "float32")


def run(make, scope, **options):
    with scope:
        model, data = make()
        model.compile(optimizer=keras.optimizers.SGD(0.1), **options)
    return model, data


found = {}
for make in (prior, label_maps, tokenizer):
    two, data = run(make, strategy.scope())
    one, _ = run(make, tf.distribute.get_strategy().scope(), run_eagerly=True)
    one.set_weights(two.get_weights())
    before = [v.numpy() for v in one.trainable_variables]
    size = {} if isinstance(data, tf.data.Dataset) else {"batch_size": 4}
    results = [model.fit(data, **size, shuffle=False, verbose=0) for model in (one, two)]
    losses = [result.history["loss"][0] for result in results]
    losses += [model.evaluate(data, **size, verbose=0, return_dict=True)["loss"]
               for model in (one, two)]
    pairs = zip(before, one.trainable_variables, two.trainable_variables)
    moves = [(a.numpy() - old, b.numpy() - old) for old, a, b in pairs]
    largest = max(np.abs(a).max() for a, _ in moves)
    apart = max(np.abs(a - b).max() for a, b in moves)
    found[make.__name__] = [float(x) for x in (*losses, largest, apart)]
print(json.dumps(found))
"""


def test_two_replicas_log_and_learn_what_one_process_does():
    if keras.backend.backend() != "tensorflow":  # the one backend with replicas inside a step
        assert replica_count() == 1
        return
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", SCRIPT]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    for name, numbers in json.loads(run.stdout.splitlines()[-1]).items():
        one, two, evaluated_one, evaluated_two, largest, apart = numbers
        assert two == pytest.approx(one, rel=1e-4), name
        assert evaluated_two == pytest.approx(evaluated_one, rel=1e-3), name
        assert largest > 1e-4 and apart < 1e-3 * largest, (name, largest, apart)

"""Training on two replicas is training on one: weights, and all that is logged."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_regvq.backend import distribution, processes, random_state, replicas
from keras_regvq.backend.datasets import number_of_batches
from keras_regvq.checks import batch_parts, checked_model
from keras_regvq.models import AutoregressivePrior
from tests.training import replicas_run

BACKEND = keras.backend.backend()
ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return str(found.getsockname()[1])


def start(count, command, **variables):
    """Start `count` processes that are to find each other."""
    port = free_port()
    variables |= {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "recipes")])}
    if count > 1 and BACKEND == "torch":
        variables |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    if count > 1 and BACKEND == "jax":
        address = f"localhost:{port}"
        variables |= {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
                      "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}  # fmt: skip
    started = []
    for number in map(str, range(count)):
        own = {"RANK": number, "LOCAL_RANK": number, "KERAS_DISTRIBUTION_PROCESS_ID": number}
        environment = {**os.environ, **variables, **own, "TF_CPP_MIN_LOG_LEVEL": "3"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(
            subprocess.Popen([sys.executable, *map(str, command)], env=environment, **pipes)
        )
    return started


def run(count, *command):
    started = start(count, command)
    said = [process.communicate(timeout=400)[0] for process in started]
    assert not any(process.returncode for process in started), "\n".join(said)[-4000:]


@pytest.fixture(scope="module")
def on_two(request, tmp_path_factory):
    """What two replicas make of each of the cases: of one process, or of PyTorch's two."""
    folder = tmp_path_factory.mktemp("replicas")
    names = [item.name for item in request.session.items]
    cases = [case for case in replicas_run.CASES if any(f"[{case}]" in name for name in names)]
    run(2 if BACKEND == "torch" else 1, replicas_run.__file__, folder, *cases)
    return lambda case: dict(np.load(folder / f"{case}.npz"))


@pytest.mark.seldom
@pytest.mark.parametrize("case", replicas_run.CASES)
def test_two_replicas_learn_and_log_what_one_does(on_two, case):
    check_equal(on_two(case), replicas_run.train(case, eager=BACKEND == "tensorflow" or None))


def check_equal(two, one):
    np.testing.assert_array_equal(two["before"], one["before"])
    moved = np.linalg.norm(one["after"] - one["before"])
    assert moved > 1e-3
    # Adam divides small gradients by their own size: what rounding leaves of them it enlarges.
    assert np.linalg.norm(two["after"] - one["after"]) < 1e-3 * moved
    np.testing.assert_allclose(two["after"], one["after"], rtol=1e-5, atol=1e-5)
    assert two.keys() == one.keys() and len(one) > 3
    for name in one.keys() - {"before", "after"}:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-3, err_msg=name)
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=2e-5)


@pytest.mark.seldom
@pytest.mark.skipif(BACKEND != "jax", reason="the others have one way")
def test_two_processes_of_jax_do_so_too(tmp_path):
    run(2, replicas_run.__file__, tmp_path, "prior")
    check_equal(dict(np.load(tmp_path / "prior.npz")), replicas_run.train("prior"))


RECIPE = (
    *(ROOT / "recipes" / "train_tokenizer.py", "--num-examples", 16, "--batch-size", 4),
    *("--base-channels", 8, "--latent-channels", 4, "--codebook-size", 16, "--image-size", 16),
    *("--epoch-steps", 2, "--output"),
)


@pytest.mark.seldom
@pytest.mark.skipif(BACKEND == "tensorflow", reason="its replicas are one process")
@pytest.mark.one_backend
def test_when_one_process_dies_the_other_ends_and_one_alone_goes_on(tmp_path):
    output = tmp_path / "run"
    two = start(2, [*RECIPE, output, "--steps", 100_000])
    try:
        wait_for(output / "log.csv", lambda: two[1].poll() is None)
        two[1].kill()
        # A minute; on a busy machine all takes longer.
        said = two[0].communicate(timeout=90)[0]
    finally:
        for process in two:
            process.kill()
    assert two[0].returncode not in (0, None), said[-2000:]
    epochs = len((output / "log.csv").read_text().splitlines()) - 1
    run(1, *RECIPE, output, "--steps", 2 * (epochs + 1), "--resume")
    assert len((output / "log.csv").read_text().splitlines()) - 1 == epochs + 1
    assert (output / "preset" / "config.json").exists()


def wait_for(path, while_true, seconds=180):
    for _ in range(10 * seconds):
        if path.exists():
            return
        assert while_true(), f"ended before {path.name} was there"
        time.sleep(0.1)
    pytest.fail(f"no {path.name} after {seconds} s")


def test_replicas_draw_other_numbers_the_same_in_every_run(monkeypatch):
    def drawn(replica):
        monkeypatch.setattr(random_state, "replica_count", lambda: 2)
        monkeypatch.setattr(random_state, "replica_index", lambda: replica)
        generator = random_state.SeedGenerator(3)
        return keras.ops.convert_to_numpy(
            keras.random.uniform((2, 50), seed=generator)
        ), keras.ops.convert_to_numpy(generator.state.value)

    (first, state), (other, other_state) = drawn(0), drawn(1)
    np.testing.assert_array_equal(first, drawn(0)[0])
    np.testing.assert_array_equal(other, drawn(1)[0])
    np.testing.assert_array_equal(state, other_state)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.4
    alone = keras.random.uniform((2, 50), seed=keras.random.SeedGenerator(3))
    np.testing.assert_array_equal(first, keras.ops.convert_to_numpy(alone))


def make_prior():
    model = AutoregressivePrior(8, 2, 1, 1, 8)
    model.compile("sgd")
    return model, np.zeros((6, 2, 2), "int32")


@pytest.mark.parametrize("size, rest", [(4, 2), (5, 1)])
def test_batches_that_cannot_be_divided_are_refused(monkeypatch, size, rest):
    monkeypatch.setattr(batch_parts, "replicas_in_process", lambda model: 4)
    model, tokens = make_prior()
    expected = rf"`x` is wrong. Received: a batch of {rest if size == 4 else size} for 4 replicas"
    with pytest.raises(ValueError, match=expected):
        model.fit({"tokens": tokens}, batch_size=size, verbose=0)


def test_a_validation_split_for_replicas_is_refused(monkeypatch):
    monkeypatch.setattr(batch_parts, "replicas_in_process", lambda model: 2)
    model, tokens = make_prior()
    with pytest.raises(ValueError, match="`validation_split` is wrong. Received: 0.5, for 2"):
        model.fit({"tokens": tokens}, batch_size=2, validation_split=0.5, verbose=0)


def in_process(monkeypatch, told):
    """As in the first of two processes, where the other one tells `told(what this one does)`."""
    monkeypatch.setattr(batch_parts, "process_index_and_count", lambda: (0, 2))
    monkeypatch.setattr(batch_parts, "told_by_all", lambda own: [own, told(own)])


@pytest.mark.parametrize(
    "other, steps, wrong",
    [(3, None, r"\[2, 3\] batches in 2 processes"), (2, None, None), (3, 2, None)],
)
def test_unequal_numbers_of_batches_are_refused(monkeypatch, other, steps, wrong):
    in_process(monkeypatch, lambda own: other)
    parts = batch_parts.BatchParts("x", make_prior()[0], steps=steps)
    if wrong is None:
        return parts.check_length(2)
    with pytest.raises(ValueError, match=wrong):
        parts.check_length(2)


def test_data_of_unknown_length_need_a_number_of_steps(monkeypatch):
    in_process(monkeypatch, lambda own: own)
    model, tokens = make_prior()
    with pytest.raises(ValueError, match="`x`.*unknown number of batches.*steps_per_epoch"):
        model.fit(iter([{"tokens": tokens}]), verbose=0)


def test_equal_batches_are_divided_and_others_are_taken_as_they_are(monkeypatch):
    batch = np.arange(8).reshape(4, 2)
    for told, expected in ((lambda own: own, batch[:2]), (lambda own: own + 1, batch)):
        in_process(monkeypatch, told)
        parts = batch_parts.BatchParts("x", make_prior()[0])
        parts.look_at(batch)
        np.testing.assert_array_equal(parts.of(batch), expected)


def test_one_process_that_chose_to_be_alone_is_left_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with distribution.data_parallel("none") as count:
        assert count == 1
        model, tokens = make_prior()
        model.fit({"tokens": tokens}, verbose=0)


def test_an_optimizer_that_was_compiled_before_the_others_came_averages_too(monkeypatch):
    model, tokens = make_prior()
    assert "apply" not in vars(model.optimizer)
    averaged = []
    monkeypatch.setattr(checked_model, "average_gradients", averaged.append)
    model.fit({"tokens": tokens}, verbose=0)
    assert averaged == [model.optimizer]


def test_datasets_that_say_how_many_batches_they_have_need_no_length():
    assert number_of_batches(batch_parts.ArrayBatches(np.zeros(6), made_parts(4))) == 2


def made_parts(batch_size):
    return batch_parts.BatchParts("x", make_prior()[0], batch_size)


def test_a_quantizer_alone_waits_for_no_other(monkeypatch):
    monkeypatch.setattr(replicas, "replica_count", lambda: 2)
    monkeypatch.setattr(replicas, "_sums", None)
    mean = keras.ops.ones((2,))
    if BACKEND == "tensorflow":
        monkeypatch.setattr(replicas, "_all_compute_this", lambda: False)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(replicas.mean_over_replicas(mean)), 1)


def test_a_model_that_was_not_built_for_its_devices_is_refused(monkeypatch):
    model, tokens = make_prior()
    if BACKEND == "torch":
        monkeypatch.setenv("WORLD_SIZE", "2")
        wrong = "`model` is wrong. Received: one of 2 processes that know nothing of each other"
    else:
        mesh = keras.distribution.DeviceMesh((1,), ["batch"], ["cpu:0"])
        set_up = keras.distribution.DataParallel(mesh)
        monkeypatch.setattr(keras.distribution, "distribution", lambda: set_up)
        wrong = "a keras.distribution.DataParallel, which this backend ignores"
        if BACKEND == "jax":
            monkeypatch.setattr(set_up.device_mesh, "_devices", np.asarray(["cpu:0", "cpu:1"]))
            wrong = "built before the DataParallel was set"
    with pytest.raises(ValueError, match=wrong):
        model.fit({"tokens": tokens}, verbose=0)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="its strategies have scopes")
def test_a_model_that_was_built_outside_of_a_strategy_is_refused(monkeypatch):
    import tensorflow as tf

    model, tokens = make_prior()
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    monkeypatch.setattr(type(strategy), "num_replicas_in_sync", 2)
    wrong = "outside of the MirroredStrategy's scope"
    with strategy.scope(), pytest.raises(ValueError, match=wrong):
        model.fit({"tokens": tokens}, verbose=0)


def test_other_words_for_devices_are_refused():
    with (
        pytest.raises(ValueError, match="`devices` is wrong. Received: 'all'"),
        distribution.data_parallel("all"),
    ):
        pass


def test_alone_a_process_knows_of_no_others(monkeypatch):
    with processes.alone():
        assert processes.process_index_and_count() == (0, 1)
    assert processes.told_by_all(7) == [7]

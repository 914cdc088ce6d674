"""What `Backup` keeps: a run that was killed and goes on ends as one that was not, to the last bit.

With sampled codes, two players, averaged weights and dropout, whose random state Keras saves not.
"""

import csv
import shutil

import keras
import numpy as np
import pytest

from keras_regvq import data, models
from keras_regvq.training import Backup, NonFiniteLoss
from tests.models.priors.tiny_prior import make_map_prior, random_maps, random_tokens
from tests.training.conftest import array_of, make_trainer, weights_of

pytestmark = pytest.mark.eager

EPOCHS, STEPS = 3, 2


class Kill(keras.callbacks.Callback):
    """Stops in the middle of an epoch, as a kill would: no callback is told."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch == 0:
            raise KeyboardInterrupt


def new_trainer(seed):
    keras.utils.set_random_seed(seed)
    trainer = make_trainer(contrastive_positions=20, discriminator_start=2, discriminator_ramp=3)
    rng = np.random.default_rng(0)  # frozen features are those of the run that was killed
    for variable in trainer.feature_extractor.variables:
        variable.assign(rng.normal(size=variable.shape))
    averages = {"use_ema": True, "ema_momentum": 0.8}
    trainer.compile(keras.optimizers.Adam(1e-2, **averages), keras.optimizers.SGD(1e-2, 0.9))
    return trainer


def new_prior(seed):
    keras.utils.set_random_seed(seed)
    prior = make_map_prior(dropout=0.3, condition_dropout=0.2, keep_probability=0.8)
    prior.compile(keras.optimizers.Adam(1e-2, gradient_accumulation_steps=3))
    return prior


def images_from(step):
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), "uint8")
    return data.order.array_batches({"images": images}, 4, 0, step)


def tokens_from(step):
    arrays = {"tokens": random_tokens(10), "condition": random_maps(10)}
    return data.order.array_batches(arrays, 4, 0, step)


KINDS = {"trainer": (new_trainer, images_from), "prior": (new_prior, tokens_from)}


def fit(kind, folder, seed=1, epochs=EPOCHS, before=(), **options):
    make, batches = KINDS[kind]
    model = make(seed)
    backup = Backup(folder / "backup", folder / "log.csv", **options)
    model.fit(
        batches(backup.epoch * STEPS),
        steps_per_epoch=STEPS,
        epochs=epochs,
        validation_data=batches(0).take(1),
        verbose=0,
        callbacks=[*before, backup],
    )
    return model, backup


def files(folder):
    return sorted(path.name for path in (folder / "backup").iterdir())


@pytest.fixture(scope="module", params=list(KINDS))
def whole(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    model, backup = fit(request.param, folder)
    return {"kind": request.param, "weights": weights_of(model), "backup": backup, "folder": folder}


def check_equal(model, backup, folder, whole):
    for one, other in zip(weights_of(model), whole["weights"], strict=True):
        np.testing.assert_array_equal(one, other)
    assert (folder / "log.csv").read_text() == (whole["folder"] / "log.csv").read_text()
    assert backup.history == whole["backup"].history


@pytest.mark.parametrize("killed", [[1], [0, 2]])
def test_a_killed_run_ends_as_if_nothing_had_happened(whole, tmp_path, killed):
    for epoch in killed:
        with pytest.raises(KeyboardInterrupt):
            seed = 2 if (tmp_path / "backup").exists() else 1  # once something is kept, another
            fit(whole["kind"], tmp_path, seed=seed, before=[Kill(epoch)])
    model, backup = fit(whole["kind"], tmp_path, seed=3)
    check_equal(model, backup, tmp_path, whole)
    assert files(tmp_path) == ["epoch_000002.npz", "epoch_000003.npz"]


@pytest.mark.one_backend
def test_a_run_whose_training_is_over_has_its_weights_again(whole, tmp_path):
    folder = shutil.copytree(whole["folder"], tmp_path / "copy")
    model, backup = fit(whole["kind"], folder, seed=2)
    check_equal(model, backup, folder, whole)


@pytest.mark.seldom
@pytest.mark.one_backend
def test_a_finished_run_goes_on_from_what_finish_kept(whole, tmp_path):
    folder = shutil.copytree(whole["folder"], tmp_path / "copy")
    (folder / "backup" / f"epoch_{EPOCHS:06}.npz").unlink()
    _, backup = fit(whole["kind"], folder, epochs=EPOCHS - 1)
    backup.finish(keep=folder / "state.npz")
    assert not (folder / "backup").exists() and (folder / "state.npz").is_file()
    model, backup = fit(whole["kind"], folder, seed=2, start=folder / "state.npz")
    check_equal(model, backup, folder, whole)
    backup.finish()
    assert not (folder / "backup").exists()


@pytest.mark.compiled
def test_a_compiled_run_goes_on_from_its_backup_as_if_nothing_had_happened(images, tmp_path):
    def fit(seed):
        keras.utils.set_random_seed(seed)
        trainer = make_trainer(discriminator=False, features=False)
        trainer.compile(keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.8))
        backup = Backup(tmp_path / "backup")
        options = {"batch_size": 4, "shuffle": False, "verbose": 0}
        trainer.fit(images, epochs=2, callbacks=[backup], **options)
        return weights_of(trainer), backup.history

    weights, history = fit(seed=1)
    (tmp_path / "backup" / "epoch_000002.npz").unlink()  # killed before it was written
    again, again_history = fit(seed=2)
    for one, other in zip(again, weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert again_history == history


def make_small(units=2):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def fit_small(folder, epochs, model=None, target=1.0, **options):
    model = model or make_small()
    backup = Backup(folder / "backup", folder / "log.csv", **options)
    x, y = np.ones((4, 3)), np.full((4, model.output_shape[-1]), target)
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=[backup])
    return model, backup


def test_a_damaged_backup_is_named_and_the_older_one_is_taken(tmp_path):
    fit_small(tmp_path, 3)
    newest = tmp_path / "backup" / "epoch_000003.npz"
    newest.write_bytes(newest.read_bytes()[:-400])
    with pytest.warns(UserWarning, match="epoch_000003.npz cannot be read.*after epoch 2") as found:
        _, backup = fit_small(tmp_path, 4)
    assert sum("cannot be read" in str(one.message) for one in found) == 1
    assert backup.epoch == 4
    with open(tmp_path / "log.csv") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2", "3"]


def test_two_damaged_backups_are_an_error_that_names_the_newer(tmp_path):
    fit_small(tmp_path, 3)
    for path in (tmp_path / "backup").iterdir():
        path.write_bytes(b"PK")
    with pytest.raises(ValueError, match="epoch_000003.npz"):
        Backup(tmp_path / "backup")


def test_a_kill_while_a_backup_is_written_leaves_the_ones_before(tmp_path, monkeypatch):
    fit_small(tmp_path, 2)
    before = files(tmp_path)

    def killed(file, **arrays):
        file.write(b"half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(np, "savez", killed)
        fit_small(tmp_path, 3)
    assert files(tmp_path) == before
    assert fit_small(tmp_path, 3)[1].epoch == 3


def test_the_log_has_no_row_twice_after_a_kill_between_backup_and_log(tmp_path, monkeypatch):
    fit_small(tmp_path / "whole", 3)

    def killed(self):
        if self.epoch == 2:
            raise KeyboardInterrupt
        Backup.write(self)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Backup, "write", Backup._write_log, raising=False)
        patch.setattr(Backup, "_write_log", killed)
        fit_small(tmp_path, 3)
    fit_small(tmp_path, 3)
    with open(tmp_path / "log.csv") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2"]


def test_an_epoch_that_ends_in_nan_is_not_kept(tmp_path):
    good, _ = fit_small(tmp_path, 2)
    before, weights = files(tmp_path), good.get_weights()
    fit_small(tmp_path, 3, target=np.nan)
    assert files(tmp_path) == before
    again, _ = fit_small(tmp_path, 2)
    for one, other in zip(again.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_nan_stops_before_it_is_kept_with_both_callbacks(tmp_path):
    model = make_small()
    backup = Backup(tmp_path / "backup")
    x, y = np.ones((4, 3)), np.full((4, 2), np.nan)
    with pytest.raises(RuntimeError, match="loss is nan"):
        model.fit(x, y, epochs=2, verbose=0, callbacks=[NonFiniteLoss(), backup])
    assert not (tmp_path / "backup").exists()


def test_another_model_and_other_frozen_weights_are_refused_by_the_files_name(tmp_path):
    fit_small(tmp_path, 1)
    with pytest.raises(ValueError, match="epoch_000001.npz.*kernel of shape"):
        fit_small(tmp_path, 2, make_small(units=3))
    other = make_small()
    other.compile(keras.optimizers.Adam(), "mse")
    with pytest.raises(ValueError, match="epoch_000001.npz.*optimizer Adam.*SGD"):
        fit_small(tmp_path, 2, other)

    def with_frozen(seed):
        keras.utils.set_random_seed(seed)
        frozen = keras.layers.Dense(3, trainable=False)
        model = keras.Sequential([keras.Input((3,)), frozen, keras.layers.Dense(2)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return model

    fit_small(tmp_path / "frozen", 1, with_frozen(0))
    fit_small(tmp_path / "frozen", 2, with_frozen(0))
    with pytest.raises(ValueError, match="epoch_000002.npz.*frozen"):
        fit_small(tmp_path / "frozen", 3, with_frozen(1))


def test_frozen_weights_are_not_in_the_file(tmp_path):
    model = make_small()
    frozen = keras.layers.Dense(1000, trainable=False)
    model = keras.Sequential([keras.Input((3,)), frozen, keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    fit_small(tmp_path, 1, model)
    with np.load(tmp_path / "backup" / "epoch_000001.npz") as kept:
        shapes = [kept[name].shape for name in kept.files]
    assert (1000, 2) in shapes and (3, 1000) not in shapes


def test_an_epoch_that_the_backup_does_not_have_is_refused(tmp_path):
    backup = Backup(tmp_path / "backup")
    model, options = make_small(), {"verbose": 0, "callbacks": [backup]}
    with pytest.raises(ValueError, match="`initial_epoch`.*2.*Expected: 0"):
        model.fit(np.ones((4, 3)), np.ones((4, 2)), initial_epoch=2, epochs=3, **options)
    model.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=2, **options)
    model.fit(np.ones((4, 3)), np.ones((4, 2)), initial_epoch=2, epochs=3, **options)
    assert backup.epoch == 3


def test_the_state_of_another_optimizer_is_refused(tmp_path):
    def compiled(optimizer):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile(optimizer, "mse")
        return model

    fit_small(tmp_path, 1, compiled(keras.optimizers.RMSprop(0.1)))
    with pytest.raises(ValueError, match="epoch_000001.npz.*SGD.*RMSprop"):
        fit_small(tmp_path, 2, compiled(keras.optimizers.SGD(0.1, momentum=0.9)))
    assert fit_small(tmp_path, 2, compiled(keras.optimizers.RMSprop(0.1)))[1].epoch == 2


def test_a_run_without_an_epoch_of_its_own_leaves_those_of_another(tmp_path):
    fit_small(tmp_path, 2, run="first")
    with pytest.warns(UserWarning, match="another run.*epoch_000002.npz"):
        backup = Backup(tmp_path / "backup", run="second")
    backup.finish(keep=tmp_path / "state.npz")
    assert files(tmp_path) == ["epoch_000001.npz", "epoch_000002.npz"]
    assert not (tmp_path / "state.npz").exists()


def test_files_named_as_those_of_another_run_are_kept_at_the_end(tmp_path):
    fit_small(tmp_path, 2, run="first")
    with pytest.warns(UserWarning, match="another run"):
        _, backup = fit_small(tmp_path, 2, run="second")
    backup.finish(keep=tmp_path / "state.npz")
    assert not (tmp_path / "backup").exists()
    assert Backup(tmp_path / "none", run="second", start=tmp_path / "state.npz").epoch == 2


def test_backups_of_another_run_are_passed_over_and_go(tmp_path):
    fit_small(tmp_path, 5, run="first")
    with pytest.warns(UserWarning, match="another run") as found:
        _, backup = fit_small(tmp_path, 2, run="second")
    assert sum("another run" in str(one.message) for one in found) == 1
    assert backup.epoch == 2
    assert files(tmp_path) == ["epoch_000001.npz", "epoch_000002.npz"]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3


def test_a_later_fit_without_it_starts_at_its_first_epoch(tmp_path):
    fit_small(tmp_path, 2)
    model, _ = fit_small(tmp_path, 2)
    assert len(model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0).history["loss"]) == 1


def test_bfloat16_weights_come_back(tmp_path):
    def make():
        dense = keras.layers.Dense(2, dtype="bfloat16")
        model = keras.Sequential([keras.Input((3,), dtype="bfloat16"), dense])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return model

    first, _ = fit_small(tmp_path, 1, make())
    second, _ = fit_small(tmp_path, 1, make())
    for one, other in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(array_of(one), array_of(other))


def test_the_models_of_the_test_have_dropout():
    prior = new_prior(0)
    assert any(isinstance(layer, keras.layers.Dropout) for layer in prior._flatten_layers())
    assert isinstance(prior, models.AutoregressivePrior)

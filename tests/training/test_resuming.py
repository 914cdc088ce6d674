"""A run that was interrupted at an epoch's end and resumed ends as if nothing had happened.

Equal to the last bit, with sampled codes and sampled positions in the loss.
"""

import keras
import pytest

from keras_regvq.quantizers import VectorQuantizer
from tests.training.conftest import array_of, differences, make_trainer, weights_of

pytestmark = pytest.mark.eager

EPOCHS, INTERRUPTED_AFTER = 2, 1


class Interrupt(keras.callbacks.Callback):
    """Saves the trainer as .keras, then stops the run as a crash would."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == INTERRUPTED_AFTER:
            self.model.save(self.path)
            raise KeyboardInterrupt


QUANTIZERS = {
    "regvq": lambda: None,  # the default
    "vq": lambda: VectorQuantizer(
        12, 6, ema=0.9, codebook_start="kmeans", dead_code_threshold=4.0, projection_dim=3
    ),
    "vq by gradient": lambda: VectorQuantizer(
        12, 6, codebook_start="sampled", dead_code_threshold=0.999
    ),
}


@pytest.fixture(scope="module", params=QUANTIZERS)
def quantizer(request):
    return QUANTIZERS[request.param]


def new_trainer(seed, quantizer):
    keras.utils.set_random_seed(seed)
    # 20 of 256 and of 64 positions, drawn anew each step.
    trainer = make_trainer(
        quantizer(), contrastive_positions=20, discriminator_start=1, discriminator_ramp=2
    )
    trainer.compile(keras.optimizers.SGD(1e-2, momentum=0.9), keras.optimizers.Adam(1e-2))
    return trainer


def fit(trainer, images, **options):
    options = {"batch_size": 4, "epochs": EPOCHS, "shuffle": False, "verbose": 0, **options}
    return trainer.fit(images, **options).history


def state(trainer):
    """Everything that training changes: both networks, the step, random states, optimizers."""
    return weights_of(trainer) + [array_of(v) for v in trainer.optimizer.variables]


@pytest.fixture(scope="module")
def uninterrupted(images, quantizer):
    trainer = new_trainer(1, quantizer)
    return {"history": fit(trainer, images), "state": state(trainer)}


@pytest.fixture(scope="module")
def interrupted(images, quantizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted")
    paths = {"keras": folder / "trainer.keras", "backup": folder / "backup"}
    callbacks = [keras.callbacks.BackupAndRestore(paths["backup"]), Interrupt(paths["keras"])]
    with pytest.raises(KeyboardInterrupt):
        fit(new_trainer(1, quantizer), images, callbacks=callbacks)
    return paths


def check_equal(trainer, history, uninterrupted):
    assert len(history["loss"]) == EPOCHS - INTERRUPTED_AFTER
    for name, values in history.items():
        assert values == uninterrupted["history"][name][INTERRUPTED_AFTER:], name
    assert differences(state(trainer), uninterrupted["state"]) == 0.0


def test_resuming_from_a_keras_file_changes_nothing(interrupted, uninterrupted, images):
    trainer = keras.saving.load_model(interrupted["keras"])
    assert trainer.contrastive_positions == 20
    history = fit(trainer, images, initial_epoch=INTERRUPTED_AFTER)
    check_equal(trainer, history, uninterrupted)


@pytest.mark.one_backend
def test_resuming_by_backup_and_restore_changes_nothing(
    interrupted, uninterrupted, images, quantizer
):
    trainer = new_trainer(2, quantizer)  # other weights, other random numbers
    callbacks = [keras.callbacks.BackupAndRestore(interrupted["backup"])]
    history = fit(trainer, images, callbacks=callbacks)
    check_equal(trainer, history, uninterrupted)

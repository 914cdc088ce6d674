import warnings

import keras
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_regvq.models import ImageTokenizer, LabelMapTokenizer
from keras_regvq.quantizers import GumbelQuantizer, VectorQuantizer
from keras_regvq.training import (
    Backup,
    CodebookHistogram,
    LowUsageWarning,
    ReconstructionGrid,
    TemperatureSchedule,
    TokenizerTrainer,
)

pytestmark = pytest.mark.eager


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype="uint8")


@pytest.fixture(scope="module")
def trainer():
    tokenizer = ImageTokenizer(16, GumbelQuantizer(16, 8, seed=1), 8, (1, 2), 1, (), 8)
    trainer = TokenizerTrainer(tokenizer)
    trainer.compile(keras.optimizers.Adam(1e-2))
    return trainer


@pytest.mark.one_backend
def test_pictures_show_the_weights_of_their_epoch_and_reach_tensorboard(trainer, images, tmp_path):
    grid = ReconstructionGrid(images[:3], tmp_path / "png", log_dir=tmp_path / "logs")
    histogram = CodebookHistogram(images, tmp_path / "png", every=2)
    trainer.fit(images, batch_size=4, epochs=2, verbose=0, callbacks=[grid, histogram])

    names = ["codebook_0002.png", "reconstructions_0001.png", "reconstructions_0002.png"]
    assert sorted(path.name for path in (tmp_path / "png").iterdir()) == names
    last = np.asarray(Image.open(tmp_path / "png" / "reconstructions_0002.png"))
    assert last.shape == (16 + 2 + 16, 3 * 16 + 2 * 2, 3)
    np.testing.assert_array_equal(last[:16, :16], images[0])
    expected = trainer.tokenizer.reconstruct(images[:1])[0] * 255
    np.testing.assert_allclose(last[18:, :16], expected, atol=1)
    first = np.asarray(Image.open(tmp_path / "png" / "reconstructions_0001.png"))
    assert (first[18:] != last[18:]).any()

    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    logged = events.Images("reconstructions")
    assert [(event.step, event.width, event.height) for event in logged] == [
        (0, 52, 34),
        (1, 52, 34),
    ]


def test_the_temperature_follows_its_schedule_within_an_epoch_and_over_fits(trainer, images):
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            getattr(self.model, "jax_state_sync", lambda: None)()
            seen.append(float(self.model.tokenizer.quantizer.temperature.numpy()))

    start = int(trainer.step.numpy())
    schedule = TemperatureSchedule(lambda step: 1.0 / (1 + step), every=2)
    for _ in range(2):
        trainer.fit(
            images, batch_size=2, epochs=1, verbose=0, callbacks=[schedule, Watch()], shuffle=False
        )
    # Set at even steps and at the start of each fit; each fit has 4 steps.
    steps = [start + step for step in range(8)]
    set_at = [step if step % 2 == 0 or step == start else step - 1 for step in steps]
    np.testing.assert_allclose(seen, [1.0 / (1 + step) for step in set_at], rtol=1e-6)


@pytest.mark.one_backend
def test_the_schedule_is_asked_for_the_steps_that_were_trained(images, tmp_path):
    def run(epochs, **options):
        asked = []
        trainer = TokenizerTrainer(ImageTokenizer(16, GumbelQuantizer(16, 8), 8, (1, 2), 1, (), 8))
        trainer.compile(keras.optimizers.SGD(0.01), **options)
        schedule = TemperatureSchedule(lambda step: asked.append(step) or 1.0, every=1)
        backup = Backup(tmp_path / str(sorted(options)))
        callbacks = [schedule, backup]  # the backup is restored after the schedule begins
        trainer.fit(images, batch_size=2, epochs=epochs, verbose=0, callbacks=callbacks)
        return asked

    assert run(1) == [0, 1, 2, 3] and run(2) == [4, 5, 6, 7]
    if keras.backend.backend() != "torch":  # which has no such steps
        assert run(2, steps_per_execution=2) == [0, 2, 4, 6]


@pytest.mark.one_backend
def test_the_schedule_anneals_a_tokenizer_of_label_maps_which_has_no_pictures(images, tmp_path):
    tokenizer = LabelMapTokenizer(4, 16, GumbelQuantizer(16, 8), 8, (1, 2), latent_channels=8)
    tokenizer.compile("sgd")
    maps = images[..., 0] % 4
    tokenizer.fit(maps, verbose=0, callbacks=[TemperatureSchedule(lambda step: 0.25)])
    assert float(keras.ops.convert_to_numpy(tokenizer.quantizer.temperature)) == 0.25
    with pytest.raises(ValueError, match="`model`.*LabelMapTokenizer.*with a tokenizer"):
        tokenizer.fit(maps, verbose=0, callbacks=[ReconstructionGrid(images, tmp_path)])


@pytest.mark.one_backend
def test_a_schedule_counts_batches_where_gradients_are_accumulated(images):
    tokenizer = LabelMapTokenizer(4, 16, GumbelQuantizer(16, 8), 8, (1, 2), latent_channels=8)
    tokenizer.compile(keras.optimizers.SGD(0.01, gradient_accumulation_steps=2))
    asked = []
    schedule = TemperatureSchedule(lambda step: asked.append(step) or 1.0, every=1)
    options = {"batch_size": 2, "epochs": 2, "verbose": 0, "callbacks": [schedule]}
    tokenizer.fit(images[:8, ..., 0] % 4, **options)
    assert asked == list(range(8))


@pytest.mark.one_backend
def test_a_keras_learning_rate_schedule_is_a_temperature_schedule(trainer, images):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 1.0)
    trainer.fit(images, batch_size=4, verbose=0, callbacks=[TemperatureSchedule(schedule)])
    assert float(trainer.tokenizer.quantizer.temperature.numpy()) == pytest.approx(0.5)


@pytest.mark.one_backend
def test_bad_temperature_schedules_are_refused(trainer, images):
    with pytest.raises(ValueError, match="`schedule`"):
        TemperatureSchedule(0.5)
    for bad in (0.0, -1.0, float("nan")):
        schedule = TemperatureSchedule(lambda step, bad=bad: bad)
        with pytest.raises(ValueError, match="`schedule`.*above 0"):
            trainer.fit(images, batch_size=4, verbose=0, callbacks=[schedule])
    plain = TokenizerTrainer(ImageTokenizer(16, VectorQuantizer(16, 8), 8, (1, 2), 1, (), 8))
    plain.compile("sgd")
    with pytest.raises(ValueError, match="VectorQuantizer"):
        callback = TemperatureSchedule(lambda step: 1.0)
        callback.set_model(plain)
        callback.on_train_begin()


def test_low_usage_warns_once_after_its_patience(trainer):
    callback = LowUsageWarning(threshold=0.5, patience=1)
    callback.set_model(trainer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        callback.on_epoch_end(0, {"codebook_usage": 0.1})
        callback.on_epoch_end(1, {"codebook_usage": 0.6})
    with pytest.warns(UserWarning, match="10.0% of the 16 codes"):
        callback.on_epoch_end(2, {"codebook_usage": 0.1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        callback.on_epoch_end(3, {"codebook_usage": 0.1})

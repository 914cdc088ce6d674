"""What a training run logs, counts and ramps, on tiny models."""

import keras
import numpy as np
import pytest

from keras_regvq.models import FeatureExtractor
from keras_regvq.quantizers import VectorQuantizer
from keras_regvq.training import TokenizerTrainer
from tests.training.conftest import CODES, differences, make_trainer, weights_of

BACKEND = keras.backend.backend()
LOSSES = {"l1", "perceptual", "contrastive", "prior", "generator", "discriminator"}
MEASURES = {"adaptive_weight", "psnr", "codebook_usage", "codebook_perplexity"}


class Counted:
    """Counts the Python calls of a trainer's loss and of its feature network: eager steps, or
    traces where the backend compiles."""

    def __init__(self, trainer, monkeypatch):
        self.loss = self.features = 0
        compute_loss, call = trainer.compute_loss, FeatureExtractor.call

        def counted_loss(*arguments, **options):
            self.loss += 1
            return compute_loss(*arguments, **options)

        def counted_call(extractor, *arguments, **options):
            self.features += 1
            return call(extractor, *arguments, **options)

        monkeypatch.setattr(trainer, "compute_loss", counted_loss)
        monkeypatch.setattr(FeatureExtractor, "call", counted_call)


@pytest.fixture(scope="module")
def run(images):
    """A trainer after two epochs of four steps with validation, and what was counted."""
    keras.utils.set_random_seed(1)
    trainer = make_trainer(discriminator_start=3, discriminator_ramp=2)
    trainer.compile(keras.optimizers.SGD(0.1), keras.optimizers.Adam(1e-3))
    with pytest.MonkeyPatch.context() as monkeypatch:
        counted = Counted(trainer, monkeypatch)
        options = {"batch_size": 2, "verbose": 0}
        history = trainer.fit(images, epochs=2, validation_data=images[:4], **options).history
        after_first_fit = counted.loss
        trainer.fit(images, epochs=1, **options)
    return {
        "trainer": trainer,
        "history": history,
        "counted": counted,
        "losses of the fits": (after_first_fit, counted.loss - after_first_fit),
    }


def test_every_loss_is_logged_by_name_in_training_and_validation(run):
    names = {"loss", *LOSSES, *MEASURES}
    assert set(run["history"]) == names | {f"val_{name}" for name in names}
    assert all(np.isfinite(values).all() for values in run["history"].values())


@pytest.mark.parametrize("prefix", ["", "val_"])
def test_the_logged_losses_add_up_to_the_loss(run, prefix):
    losses = np.array([run["history"][prefix + name] for name in LOSSES])
    # Nothing is sampled in validation: no position counts in the probabilistic contrastive loss.
    zero = {name for name, loss in zip(LOSSES, losses[:, -1], strict=True) if abs(loss) < 1e-6}
    assert zero == ({"contrastive"} if prefix else set())
    np.testing.assert_allclose(losses.sum(axis=0), run["history"][f"{prefix}loss"], rtol=1e-5)


def test_a_step_is_counted_once_though_two_optimizers_take_it(run):
    trainer = run["trainer"]
    assert int(keras.ops.convert_to_numpy(trainer.step)) == 12
    iterations = [trainer.optimizer, *trainer.optimizer.optimizers]
    assert [int(keras.ops.convert_to_numpy(each.iterations)) for each in iterations] == [12] * 3


def test_steps_are_traced_once_and_a_second_fit_of_equal_shapes_traces_nothing(run):
    # One trace to train and one to validate. PyTorch does not trace: one call a step.
    assert run["losses of the fits"] == ((2 * (4 + 2), 4) if BACKEND == "torch" else (2, 0))


def test_the_feature_network_runs_twice_a_step(run):
    # Once on the originals and once on the reconstruction, for both losses and their gradient.
    assert run["counted"].loss > 0
    assert run["counted"].features == 2 * run["counted"].loss


@pytest.fixture(scope="module")
def still(images):
    """A trainer that never moves and draws nothing: its logs are of known weights."""
    keras.utils.set_random_seed(2)
    trainer = make_trainer(
        VectorQuantizer(CODES, 6, codebook_initializer=keras.initializers.RandomNormal(stddev=0.5)),
        discriminator_start=2,
        discriminator_ramp=4,
    )
    trainer.compile(keras.optimizers.SGD(0.0))
    return trainer


def test_the_discriminators_weight_ramps_up_from_its_start(still, images):
    logs = []
    for _ in range(7):
        still.reset_metrics()
        logs.append(still.train_on_batch(images[:2], return_dict=True))
    generator = np.array([step["generator"] for step in logs])
    assert abs(generator[-1]) > 1e-6
    np.testing.assert_allclose(
        generator / generator[-1], [0, 0, 0.25, 0.5, 0.75, 1, 1], rtol=1e-5, atol=1e-7
    )
    logits = still.discriminator.predict(unclipped(still, images[:2]), verbose=0)
    expected = 0.8 * logs[-1]["adaptive_weight"] * -logits.mean()
    np.testing.assert_allclose(generator[-1], expected, rtol=1e-4)


def unclipped(trainer, images):
    """Reconstructions in [0, 1] before they are clipped, as an array."""
    decoded = trainer.predict(images, verbose=0)["decoded"]
    return (decoded + 1) / 2


def test_codebook_measures_are_of_the_epoch_and_not_means_of_batches(still, images):
    logs = still.fit(images, batch_size=2, verbose=0).history
    tokens = still.tokenizer.encode(images)
    counts = np.bincount(tokens.ravel(), minlength=CODES)
    frequencies = counts[counts > 0] / counts.sum()
    perplexity = np.exp(-np.sum(frequencies * np.log(frequencies)))
    np.testing.assert_allclose(logs["codebook_usage"], [np.mean(counts > 0)], rtol=1e-6)
    np.testing.assert_allclose(logs["codebook_perplexity"], [perplexity], rtol=1e-5)
    batch_perplexities = []
    for i in range(0, 8, 2):
        p = np.bincount(tokens[i : i + 2].ravel()) / tokens[i : i + 2].size
        batch_perplexities.append(np.exp(-np.sum(p[p > 0] * np.log(p[p > 0]))))
    assert abs(np.mean(batch_perplexities) / perplexity - 1) > 1e-3


def test_l1_and_psnr_are_of_images_in_the_unit_range(still, images):
    logs = still.evaluate(images, batch_size=4, verbose=0, return_dict=True)
    decoded = unclipped(still, images)
    np.testing.assert_allclose(logs["l1"], 2.0 * np.abs(images - decoded).mean(), rtol=1e-5)
    errors = np.square(images - np.clip(decoded, 0, 1)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(logs["psnr"], np.mean(-10 * np.log10(errors)), rtol=1e-5)


def test_before_its_start_the_discriminator_learns_and_leaves_the_generator_alone(images):
    trainers = []
    for discriminator in (True, False):
        keras.utils.set_random_seed(3)
        settings = {"discriminator_start": 100, "features": False}
        trainers.append(make_trainer(discriminator=discriminator, **settings))
    trainers[1].tokenizer.set_weights(trainers[0].tokenizer.get_weights())
    before = [weights_of(trainers[0].tokenizer), weights_of(trainers[0].discriminator)]
    for trainer in trainers:
        trainer.compile(keras.optimizers.SGD(0.1))
        trainer.fit(images[:4], batch_size=2, shuffle=False, verbose=0)
    after = [weights_of(trainer.tokenizer) for trainer in trainers]
    assert differences(before[0], after[0]) > 1e-3
    assert differences(*after) < 1e-6
    assert differences(before[1], weights_of(trainers[0].discriminator)) > 1e-4


def test_the_feature_network_stays_as_it_is(run):
    trainer = run["trainer"]
    trained = {id(variable) for variable in trainer.trainable_variables}
    assert trained.isdisjoint(id(variable) for variable in trainer.feature_extractor.variables)
    players = trainer.tokenizer, trainer.discriminator
    assert len(trained) == sum(len(player.trainable_variables) for player in players)


@pytest.mark.parametrize(
    "argument, options",
    [
        ("l1_weight", {"l1_weight": -1.0}),
        ("contrastive", {"contrastive": "both"}),
        ("discriminator_start", {"discriminator_start": -1}),
        ("discriminator_ramp", {"discriminator_ramp": 0.5}),
        ("contrastive_positions", {"contrastive_positions": 0}),
        ("tokenizer", {"tokenizer": None}),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name(run, argument, options):
    with pytest.raises(ValueError, match=rf"`{argument}`.*Received.*Expected"):
        TokenizerTrainer(**{"tokenizer": run["trainer"].tokenizer, **options})


def test_a_setting_that_would_no_longer_count_cannot_be_set(run):
    trainer = run["trainer"]
    for name, value in trainer.settings.items():
        with pytest.raises(AttributeError, match=f"{name} is fixed when the trainer is made"):
            setattr(trainer, name, value)


def test_an_optimizer_for_a_discriminator_that_is_not_there_is_refused(run):
    trainer = TokenizerTrainer(run["trainer"].tokenizer)
    with pytest.raises(ValueError, match="`discriminator_optimizer`.*Received.*Expected"):
        trainer.compile("sgd", "sgd")

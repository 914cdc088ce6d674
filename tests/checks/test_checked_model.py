"""What a model would not use, it refuses by name: targets, weights of examples, losses, metrics."""

import numpy as np
import pytest
import tensorflow as tf

from tests.checks.test_fit_data import (
    COUNT,
    GOOD,
    Sequence,
    autoregressive_prior,
    diffusion_prior,
    label_map_tokenizer,
    semantic_to_image,
    text_to_image,
    trainer,
)

pytestmark = pytest.mark.eager

MODELS = (
    trainer,
    label_map_tokenizer,
    autoregressive_prior,
    diffusion_prior,
    semantic_to_image,
    text_to_image,
)
WEIGHTS = np.zeros(COUNT, "float32")


@pytest.mark.parametrize("make", MODELS)
def test_weights_of_examples_and_targets_are_refused_by_name(make):
    model, data = make(), GOOD[make]
    model.compile(optimizer="sgd")
    for use in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match="Argument `sample_weight` is wrong.*Expected: None"):
            use(data, sample_weight=WEIGHTS)
        with pytest.raises(ValueError, match="Argument `y` is wrong.*Expected: None"):
            use(data, WEIGHTS)
    for use in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match="Argument `class_weight` is wrong.*Expected: None"):
            use(data, class_weight={0: 1.0})
    with pytest.raises(ValueError, match="`sample_weight` of `validation_data`"):
        model.fit(data, validation_data=(data, None, WEIGHTS))


@pytest.mark.one_backend
@pytest.mark.parametrize("make", [trainer, autoregressive_prior])
def test_weights_inside_data_sets_are_refused(make):
    model, data = make(), GOOD[make]
    model.compile(optimizer="sgd")
    parts = (data, np.zeros(COUNT, "int32"), WEIGHTS)
    for weighted in (Sequence(parts), tf.data.Dataset.from_tensor_slices(parts).batch(2)):
        for use in (model.fit, model.evaluate):
            with pytest.raises(ValueError, match="Argument `sample_weight` is wrong"):
                use(weighted, verbose=0)


def test_targets_beside_a_priors_tokens_are_refused():
    model = autoregressive_prior()
    model.compile()
    pairs = Sequence((GOOD[autoregressive_prior], np.zeros(COUNT)))
    with pytest.raises(ValueError, match="Argument `y` is wrong"):
        model.fit(pairs, verbose=0)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize(
    "option",
    [
        {"loss": "mse"},
        {"metrics": ["accuracy"]},
        {"weighted_metrics": ["accuracy"]},
        {"loss_weights": [1.0]},
    ],
)
def test_losses_and_metrics_that_would_be_ignored_are_refused(option, make):
    (name,) = option
    with pytest.raises(ValueError, match=f"Argument `{name}` is wrong.*Expected: None"):
        make().compile(optimizer="sgd", **option)


def test_a_second_positional_argument_of_compile_is_refused_too():
    with pytest.raises(ValueError, match="Argument `loss`"):
        label_map_tokenizer().compile("adam", "mse")


def test_a_split_for_validation_of_dicts_of_arrays_works():
    model, data = diffusion_prior(), GOOD[diffusion_prior]
    model.compile()
    history = model.fit(data, validation_split=0.5, batch_size=3, verbose=0).history
    assert np.isfinite(history["val_loss"]).all()


def test_no_warning_says_that_a_data_set_is_not_shuffled(recwarn):
    model = diffusion_prior()
    model.compile()
    model.fit(tf.data.Dataset.from_tensor_slices(GOOD[diffusion_prior]).batch(3), verbose=0)
    assert not [warning for warning in recwarn if "shuffle" in str(warning.message)]

import keras
import numpy as np
import pytest

import keras_regvq
from keras_regvq import models
from keras_regvq.training import Muon
from tests.models.priors.tiny_prior import (
    CLASSES,
    CODES,
    GRID,
    IMAGE,
    logits_of,
    make_label_tokenizer,
    make_map_prior,
    make_prior,
    random_maps,
    random_tokens,
)

pytestmark = pytest.mark.eager


@pytest.fixture(scope="module")
def prior():
    return make_map_prior()


def negative_log_likelihood(logits, tokens):
    """Mean over the tokens, in nats, in float64."""
    logits = logits.astype("float64")
    log_total = np.log(np.exp(logits).sum(-1))
    chosen = np.take_along_axis(logits, tokens.reshape(len(tokens), -1, 1), -1)[..., 0]
    return float((log_total - chosen).mean())


def test_a_token_is_predicted_from_earlier_tokens_and_the_condition_alone(prior):
    tokens, maps = random_tokens(), random_maps()
    before = logits_of(prior, tokens, maps)
    for position in (0, 7, 23):
        changed = tokens.copy().reshape(3, -1)
        changed[:, position] = (changed[:, position] + 1) % CODES
        difference = np.abs(logits_of(prior, changed.reshape(3, *GRID), maps) - before).max((0, 2))
        assert difference[: position + 1].max() < 1e-6
        assert position == 23 or difference[position + 1 :].max() > 1e-4
    changed = maps.copy()
    changed[:, -1, -1] = (changed[:, -1, -1] + 1) % CLASSES
    difference = np.abs(logits_of(prior, tokens, changed) - before).max((0, 2))
    assert difference.min() > 1e-6, "every token sees the whole map"
    aligned = [
        keras.ops.convert_to_numpy(prior.embed_condition(keras.ops.convert_to_tensor(m))[1])
        for m in (maps, changed)
    ]
    assert np.abs(aligned[0] - aligned[1]).max((0, 2)).nonzero()[0].tolist() == [23]


def test_loss_and_bits_count_the_image_tokens_alone(prior):
    tokens, maps = random_tokens(4), random_maps(4)
    prior.compile(keras.optimizers.SGD(0.0))
    results = prior.evaluate(
        {"tokens": tokens, "condition": maps}, batch_size=2, verbose=0, return_dict=True
    )
    expected = negative_log_likelihood(logits_of(prior, tokens, maps), tokens)
    assert results["loss"] == pytest.approx(expected, rel=1e-5)
    assert results["bits_per_token"] == pytest.approx(expected / np.log(2), rel=1e-5)


@pytest.mark.compiled
@pytest.mark.one_backend
def test_a_prior_learns_what_a_map_says():
    maps = np.repeat(np.repeat(np.random.default_rng(0).integers(0, 5, (64, *GRID)), 4, 1), 4, 2)
    tokens = maps[:, ::4, ::4] * 2  # each class has its token
    prior = models.AutoregressivePrior(
        CODES, GRID, 1, 2, 32, models.LabelMapCondition(CLASSES, IMAGE), seed=0
    )
    prior.compile(keras.optimizers.Adam(1e-2))
    data = {"tokens": tokens, "condition": maps}
    history = prior.fit(data, batch_size=16, epochs=12, verbose=0).history
    assert history["bits_per_token"][0] > 1.5
    assert history["bits_per_token"][-1] < 0.3
    np.testing.assert_array_equal(prior.generate(maps[:4], temperature=0), tokens[:4])


def test_keep_probability_replaces_inputs_and_not_targets_while_training():
    always, never = make_prior(keep_probability=1.0), make_prior(keep_probability=0.0)
    tokens = keras.ops.convert_to_tensor(random_tokens(), "int32")

    def logits(prior, training):
        return keras.ops.convert_to_numpy(prior({"tokens": tokens}, training=training))

    np.testing.assert_array_equal(logits(always, True), logits(always, False))
    np.testing.assert_array_equal(logits(never, False), logits(always, False))
    replaced = np.abs(logits(never, True) - logits(never, False)).max((0, 2))
    assert replaced[0] < 1e-6 and replaced[1:].min() > 1e-4


def test_condition_dropout_hides_the_condition_of_whole_examples_while_training():
    prior = make_map_prior(condition_dropout=0.5)
    tokens, maps = np.repeat(random_tokens(1), 64, 0), np.repeat(random_maps(1), 64, 0)
    inputs = {"tokens": tokens, "condition": maps}
    inputs = {name: keras.ops.convert_to_tensor(v, "int32") for name, v in inputs.items()}
    logits = keras.ops.convert_to_numpy(prior(inputs, training=True))
    seen = logits_of(prior, tokens[:1], maps[:1])[0]
    hidden = np.abs(logits - seen).max((1, 2)) > 1e-4
    assert 16 < hidden.sum() < 48
    assert np.abs(logits[hidden] - logits[hidden][0]).max() < 1e-5


@pytest.mark.compiled
def test_gradient_checkpointing_changes_no_gradient():
    histories = []
    for checkpointing in (False, True):
        prior = make_map_prior(gradient_checkpointing=checkpointing)
        prior.compile(keras.optimizers.SGD(0.5))
        data = {"tokens": random_tokens(4), "condition": random_maps(4)}
        prior.fit(data, batch_size=4, epochs=3, shuffle=False, verbose=0)
        histories.append([keras.ops.convert_to_numpy(v) for v in prior.trainable_variables])
    start = [keras.ops.convert_to_numpy(v) for v in make_map_prior().trainable_variables]
    assert max(np.abs(a - b).max() for a, b in zip(histories[0], start, strict=True)) > 0.05
    for plain, checkpointed in zip(*histories, strict=True):
        np.testing.assert_allclose(checkpointed, plain, atol=2e-6)


def adamw():
    return keras.optimizers.AdamW(1e-12, weight_decay=1e10)  # decay: 1 % a step


@pytest.mark.parametrize(
    "make_optimizer, kept",
    [
        (adamw, 0.99),
        (lambda: keras.optimizers.LossScaleOptimizer(adamw()), 0.99),
        (lambda: Muon(1e-12, adam_weight_decay=1e10), 1.0),  # its own matrices do not decay
    ],
)
def test_weight_decay_reaches_matrices_alone(make_optimizer, kept):
    prior = make_map_prior()
    before = {v.path: keras.ops.convert_to_numpy(v).copy() for v in prior.trainable_variables}
    prior.compile(make_optimizer())
    prior.fit({"tokens": random_tokens(2), "condition": random_maps(2)}, verbose=0)
    for variable in prior.trainable_variables:
        ratio = keras.ops.convert_to_numpy(variable) / before[variable.path]
        np.testing.assert_allclose(ratio, kept if variable.name == "kernel" else 1.0, rtol=1e-4)
    kernels = [v for v in prior.trainable_variables if v.name == "kernel"]
    assert len(kernels) == 2 * 6 + 2 + 1, "six a block, two patch embeddings, the head"


def test_the_default_optimizer_is_minigpts():
    prior = make_prior()
    prior.compile()
    assert isinstance(prior.optimizer, keras.optimizers.AdamW)
    assert prior.optimizer.beta_2 == 0.95


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "condition",
    [
        None,
        models.ClassCondition(CLASSES),
        models.LabelMapCondition(CLASSES, IMAGE),
        "tokenized",
    ],
)
def test_a_preset_holds_the_prior_and_its_condition(condition, tmp_path):
    if condition == "tokenized":
        condition = models.TokenizedMapCondition(make_label_tokenizer())
    prior = make_prior(condition, condition_dropout=0.25)
    prior.save_to_preset(str(tmp_path / "prior"))
    loaded = keras_regvq.from_preset(str(tmp_path / "prior"))
    assert type(loaded) is models.AutoregressivePrior
    assert loaded.get_config() == prior.get_config()
    values = None
    if condition is not None:
        values = random_maps() if len(condition.shape) else np.array([1, 0, 4])
    tokens = random_tokens()
    np.testing.assert_allclose(
        logits_of(loaded, tokens, values), logits_of(prior, tokens, values), atol=1e-6
    )


@pytest.mark.one_backend
def test_half_precision_keeps_logits_in_float32():
    prior = make_map_prior(dtype="mixed_bfloat16")
    reference = make_map_prior()
    tokens, maps = random_tokens(), random_maps()
    logits = logits_of(prior, tokens, maps)
    assert logits.dtype == np.float32
    assert prior.blocks[0].compute_dtype == "bfloat16"
    expected = logits_of(reference, tokens, maps)
    assert np.corrcoef(logits.ravel(), expected.ravel())[0, 1] > 0.999
    assert prior.generate(maps, seed=0).shape == (3, *GRID)


@pytest.mark.parametrize(
    "arguments, named",
    [
        ({"codebook_size": 0}, "codebook_size"),
        ({"grid": (4, 0)}, "grid"),
        ({"grid": (4, 4, 4, 4)}, "grid"),
        ({"num_heads": 3}, "num_heads"),
        ({"condition": "map"}, "condition"),
        ({"keep_probability": 1.5}, "keep_probability"),
        ({"dropout": 0.1, "gradient_checkpointing": True}, "dropout"),
        ({"condition": models.LabelMapCondition(5, (16, 20))}, "image_size"),
    ],
)
def test_wrong_sizes_are_named(arguments, named):
    sizes = {"codebook_size": 8, "grid": GRID, "num_layers": 1, "num_heads": 2, "hidden_dim": 8}
    with pytest.raises(ValueError, match=named):
        models.AutoregressivePrior(**{**sizes, **arguments})


@pytest.mark.parametrize(
    "data, named",
    [
        ({"tokens": random_tokens()}, "keys"),
        ({"tokens": random_tokens() + CODES, "condition": random_maps()}, "tokens from"),
        ({"tokens": random_tokens()[:, :2], "condition": random_maps()}, r"the prior's grid"),
        ({"tokens": random_tokens(), "condition": random_maps() - 1}, "labels from -1"),
        ({"tokens": random_tokens() / 2, "condition": random_maps()}, "tokens"),
        (random_tokens(), "a dict of arrays"),
    ],
)
def test_wrong_training_data_are_named(prior, data, named):
    prior.compile()
    with pytest.raises(ValueError, match=named):
        prior.fit(data, verbose=0)


def test_a_saved_run_goes_on_with_the_same_random_choices(tmp_path):
    data = {"tokens": random_tokens(8), "condition": random_maps(8)}

    def fit(prior):
        prior.fit(data, batch_size=4, epochs=1, shuffle=False, verbose=0)

    prior = make_map_prior(keep_probability=0.7, condition_dropout=0.3)
    prior.compile(keras.optimizers.AdamW(1e-2, weight_decay=0.1))
    fit(prior)
    prior.save(tmp_path / "prior.keras")
    fit(prior)
    resumed = keras.saving.load_model(tmp_path / "prior.keras")
    fit(resumed)
    for ours, theirs in zip(prior.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (ours, theirs)))


@pytest.mark.one_backend
def test_an_interruption_keeps_what_was_trained_and_the_prior_usable():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                raise KeyboardInterrupt

    prior = make_map_prior()
    before = prior.get_weights()
    prior.compile(keras.optimizers.SGD(0.5))
    data = {"tokens": random_tokens(8), "condition": random_maps(8)}
    with pytest.raises(KeyboardInterrupt):
        prior.fit(data, batch_size=2, verbose=0, callbacks=[Stop()])
    assert any((old != new).any() for old, new in zip(before, prior.get_weights(), strict=True))
    assert int(prior.optimizer.iterations.numpy()) == 2
    prior.fit(data, batch_size=2, verbose=0)
    assert int(prior.optimizer.iterations.numpy()) == 6

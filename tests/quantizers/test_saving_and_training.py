"""Quantizers inside Keras models: configuration, weights files, compiled training."""

import json

import h5py
import keras
import numpy as np
import pytest

from keras_regvq.quantizers import GumbelQuantizer, RegularizedQuantizer, VectorQuantizer
from tests.gradients import assert_close, layer_outputs
from tests.quantizers.reference import make, reference

EVERY_ARGUMENT = [
    (
        RegularizedQuantizer,
        dict(
            mask_ratio=0.3,
            temperature=0.7,
            prior_weight=0.2,
            prior_scope="image",
            prior_estimator="hard",
            seed=5,
        ),
    ),
    (GumbelQuantizer, dict(temperature=0.7, kl_weight=0.3, seed=5)),
    (VectorQuantizer, dict(commitment_weight=0.5)),
    (
        VectorQuantizer,
        dict(ema=0.9, codebook_start="kmeans", dead_code_threshold=0.5, projection_dim=2, seed=5),
    ),
]


@pytest.fixture
def features(rng):
    return rng.normal(size=(2, 3, 4, 5)).astype("float32")


def model_of(quantizer, channels=5):
    inputs = keras.Input((None, None, channels))
    return keras.Model(inputs, quantizer(inputs))


def numpy_draw(model, features):
    return layer_outputs(model, features, training=True)["tokens"]


@pytest.mark.parametrize(("quantizer", "options"), EVERY_ARGUMENT)
def test_the_configuration_survives_a_round_trip_through_json(quantizer, options, rng):
    initializer = keras.initializers.RandomUniform(-0.5, 0.5, seed=3)
    common = dict(codebook_initializer=initializer, block_size=5, name="codes")
    layer = make(quantizer, rng, channels=3, **options, **common)
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    copy = keras.saving.deserialize_keras_object(serialized)
    assert type(copy) is quantizer
    assert copy.get_config() == layer.get_config()
    for name, value in {**options, "block_size": 5, "name": "codes"}.items():
        assert copy.get_config()[name] == value
    assert copy.get_config()["codebook_initializer"]["config"]["maxval"] == 0.5

    assert copy.built
    assert [w.shape for w in copy.get_weights()] == [w.shape for w in layer.get_weights()]


@pytest.mark.parametrize(("quantizer", "options"), EVERY_ARGUMENT)
def test_symbolic_outputs_describe_the_real_ones(quantizer, options, rng):
    layer = quantizer(11, 3, **options)
    inputs = keras.Input((None, None, 3))
    symbolic = layer(inputs)
    model = keras.Model(inputs, symbolic)
    outputs = layer_outputs(model, rng.normal(size=(2, 3, 4, 3)).astype("float32"))
    assert outputs["embeddings"].shape == (2, 3, 4, 3)

    def check(real, spec):
        assert spec.shape == (None, None, None, *real.shape[3:])[: real.ndim]
        assert real.dtype == spec.dtype

    keras.tree.map_structure(check, outputs, symbolic)  # fails for other names, too


@pytest.mark.parametrize("quantizer", [RegularizedQuantizer, GumbelQuantizer])
def test_a_restored_layer_draws_what_the_uninterrupted_one_would(
    quantizer, features, rng, tmp_path
):
    model = model_of(make(quantizer, rng, seed=1))
    model.layers[-1].temperature.assign(0.5)
    first = numpy_draw(model, features)
    model.save_weights(tmp_path / "model.weights.h5")
    second = numpy_draw(model, features)
    assert (first != second).any()

    resumed = model_of(make(quantizer, rng, seed=2))
    resumed.load_weights(tmp_path / "model.weights.h5")
    assert float(resumed.layers[-1].temperature.value) == 0.5
    for loaded, saved in zip(resumed.get_weights(), model.get_weights(), strict=True):
        if loaded.dtype == np.float32:
            np.testing.assert_array_equal(loaded, saved)
    np.testing.assert_array_equal(numpy_draw(resumed, features), second)


def test_a_weights_file_without_a_random_state_loads(features, rng, tmp_path):
    path = tmp_path / "model.weights.h5"
    model = model_of(make(RegularizedQuantizer, rng, seed=1))
    model.save_weights(path)
    with h5py.File(path, "r+") as file:
        seeds = []
        file.visit(lambda name: seeds.append(name) if name.endswith("/seed") else None)
        assert len(seeds) == 1
        del file[seeds[0]]
    resumed = model_of(make(RegularizedQuantizer, rng, seed=2))
    untouched = keras.ops.convert_to_numpy(resumed.layers[-1].seed_generator.state.value)
    resumed.load_weights(path)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(resumed.layers[-1].codebook.value),
        keras.ops.convert_to_numpy(model.layers[-1].codebook.value),
    )
    state = keras.ops.convert_to_numpy(resumed.layers[-1].seed_generator.state.value)
    np.testing.assert_array_equal(state, untouched)


class Autoencoder(keras.Model):
    """The smallest model to train: embeddings to targets, with the quantizer's own losses."""

    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer

    def build(self, input_shape):
        self.built = True

    def call(self, features, training=False):
        outputs = self.quantizer(features, training=training)
        self.add_loss(sum(outputs["losses"].values()))
        return outputs["embeddings"]


def compiled(quantizer):
    model = Autoencoder(quantizer)
    model.compile(keras.optimizers.SGD(1.0), loss="mse")
    return model


def change(model, features, targets):
    """What one compiled SGD step at learning rate 1 adds to each weight, by name."""
    variables = model.quantizer.trainable_variables
    before = [keras.ops.convert_to_numpy(v.value) for v in variables]
    model.train_on_batch(features, targets)
    after = [keras.ops.convert_to_numpy(v.value) for v in variables]
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    return {v.name: b - a for v, b, a in zip(variables, after, before, strict=True)}


@pytest.mark.parametrize("quantizer", [RegularizedQuantizer, VectorQuantizer])
def test_a_compiled_step_applies_the_reference_gradient(quantizer, rng):
    # Mask ratio 0 draws nothing that counts: compiled draws may differ from uncompiled ones.
    options = {}
    if quantizer is RegularizedQuantizer:
        options = dict(mask_ratio=0, prior_estimator="hard", prior_weight=1.0)
    layer = make(quantizer, rng, channels=3, **options)
    model = compiled(layer)
    # TensorFlow compiles the second grid for any size: its shape is no longer known.
    for height, width in [(3, 4), (2, 5)]:
        features = rng.normal(size=(2, height, width, 3)).astype("float32")
        targets = rng.normal(size=(2, height, width, 3)).astype("float32")
        expected, _, _ = reference(layer, features, np.zeros(1), training=False)
        upstream = 2 * (expected["embeddings"] - targets) / targets.size
        _, _, gradients = reference(layer, features, upstream, training=False)
        steps = change(model, features, targets)
        assert set(steps) == set(gradients) - {"inputs"}
        for name, step in steps.items():
            # The difference of two weights of order 1 has lost a digit or two.
            assert_close(step, -gradients[name], relative=1e-4, message=name)


@pytest.mark.parametrize(
    ("quantizer", "shapes"),
    [(RegularizedQuantizer, [(2, 3, 4), (3, 2, 5)]), (GumbelQuantizer, [(2, 3, 4)])],
)
def test_fit_trains_every_weight_on_batches_of_any_shape(quantizer, shapes, rng):
    layer = make(quantizer, rng)
    model = compiled(layer)
    for shape in shapes:
        before = [keras.ops.convert_to_numpy(v.value) for v in layer.trainable_variables]
        features = rng.normal(size=(*shape, 5)).astype("float32")
        targets = rng.normal(size=(*shape, 3)).astype("float32")
        history = model.fit(features, targets, batch_size=len(features), verbose=0).history
        assert np.isfinite(history["loss"]).all()
        for variable, old in zip(layer.trainable_variables, before, strict=True):
            value = keras.ops.convert_to_numpy(variable.value)
            assert np.isfinite(value).all() and (value != old).any(), variable.name


def test_a_new_temperature_acts_on_the_compiled_step(features, rng):
    layer = make(RegularizedQuantizer, rng, temperature=1.0)
    model = compiled(layer)
    targets = rng.normal(size=(2, 3, 4, 3)).astype("float32")
    seed = keras.ops.convert_to_numpy(layer.seed_generator.state.value)

    def kernel_step(temperature):
        layer.seed_generator.state.assign(seed)  # the same draws each time
        layer.temperature.assign(temperature)
        return change(model, features, targets)["logits_kernel"]

    warm, cold, warm_again = kernel_step(1.0), kernel_step(0.25), kernel_step(1.0)
    np.testing.assert_array_equal(warm, warm_again)
    assert np.abs(cold - warm).max() > 0.1 * np.abs(warm).max()

"""Muon's step against the published algorithm in NumPy, for every kind of kernel."""

import keras
import numpy as np
import pytest

from keras_regvq.training import Muon
from keras_regvq.training.muon import matrix_shape
from tests.training.conftest import array_of, make_trainer

SHAPES = {
    "convolution": ((3, 3, 8, 6), (72, 6)),
    "dense": ((5, 7), (5, 7)),
    "attention's query": ((8, 2, 4), (8, 8)),
    "attention's output": ((2, 4, 8), (8, 8)),
    "convolution of few outputs": ((3, 3, 8, 2), (72, 2)),
}


def orthogonalized(matrix):
    """Newton-Schulz iteration, five times, on whichever side is short."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


@pytest.mark.parametrize("kind", SHAPES)
def test_kernels_take_orthogonalized_steps(kind, rng):
    shape, sides = SHAPES[kind]
    start = rng.normal(size=shape).astype("float32")
    variable = keras.Variable(start, name="kernel")
    optimizer = Muon(0.1, momentum=0.9)
    expected, momentum = start.astype("float64"), np.zeros(shape)
    for _ in range(3):
        gradient = rng.normal(size=shape).astype("float32")
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        momentum = 0.9 * momentum + gradient
        step = orthogonalized((gradient + 0.9 * momentum).reshape(sides))
        expected = expected - 0.1 * 0.2 * np.sqrt(max(sides)) * step.reshape(shape)
    assert matrix_shape(shape) == sides
    np.testing.assert_allclose(array_of(variable), expected, atol=2e-5)


@pytest.mark.parametrize("sides", [(576, 64), (64, 576)])
@pytest.mark.parametrize("smallest", [1e-1, 1e-7])
def test_long_matrices_of_nearly_dependent_rows_are_orthogonalized_alike(sides, smallest, rng):
    left, right = (np.linalg.qr(rng.normal(size=(side, 64)))[0] for side in sides)
    matrix = (left * np.geomspace(1.0, smallest, 64)) @ right.T
    step = Muon().zeropower_via_newtonschulz5(matrix.astype("float32"), 5)
    expected = orthogonalized(matrix)
    assert np.linalg.norm(expected, 2) > 0.7
    np.testing.assert_allclose(array_of(step), expected, atol=2e-4)


def test_vectors_and_what_is_no_hidden_layer_take_adams_step(rng):
    layers = {
        "conv_in": keras.layers.Conv2D(4, 3, name="conv_in"),
        "hidden": keras.layers.Conv2D(4, 3, name="hidden"),
    }
    variables = []
    for layer in layers.values():
        layer.build((None, 8, 8, 4))
        variables += layer.trainable_variables
    ours = Muon(0.02, adam_lr_ratio=0.1)
    before = [array_of(v) for v in variables]
    gradients = [rng.normal(size=v.shape).astype("float32") for v in variables]
    ours.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
    # Adam's first step is the learning rate times the gradient's sign.
    for variable, start, gradient in zip(variables, before, gradients, strict=True):
        is_adams = np.allclose(array_of(variable), start - 0.002 * np.sign(gradient), atol=1e-4)
        assert is_adams == (variable.path != "hidden/kernel"), variable.path


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_adam_takes_goes_as_with_keras_adam(dtype, rng):
    shapes = {"codebook": (6, 4), "bias": (5,), "scalar": ()}
    starts = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    ours, kerass = (
        [keras.Variable(start, dtype=dtype, name=name) for name, start in starts.items()]
        for _ in range(2)
    )
    muon = Muon(0.1, adam_lr_ratio=0.2, adam_beta_1=0.8, adam_beta_2=0.95)
    adam = keras.optimizers.Adam(0.02, beta_1=0.8, beta_2=0.95)
    for _ in range(4):
        gradients = [rng.normal(size=shape) for shape in shapes.values()]
        for optimizer, variables in ((muon, ours), (adam, kerass)):
            tensors = [keras.ops.convert_to_tensor(g, dtype) for g in gradients]
            optimizer.apply(tensors, variables)
    for mine, other, start in zip(ours, kerass, starts.values(), strict=True):
        moved = np.abs(array_of(mine).astype("float32") - start).max()
        difference = array_of(mine).astype("float32") - array_of(other).astype("float32")
        assert moved > 0.005 and np.abs(difference).max() < (1e-6 if dtype == "float32" else 0.03)


def test_codebook_and_logits_take_adams_step():
    trainer = make_trainer(discriminator=False, features=False)
    optimizer = Muon()
    adams = {v.path for v in trainer.trainable_variables if optimizer._should_use_adamw(v)}
    for name in ("codebook", "logits_kernel", "conv_in/kernel", "conv_out/kernel", "norm1/gamma"):
        assert any(path.endswith(name) for path in adams), name
    assert not any("conv1/kernel" in path or "quant_conv/kernel" in path for path in adams)


def test_it_trains_compiled_and_comes_back_from_its_config(rng):
    layers = [keras.layers.Conv2D(4, 3, name=name) for name in ("conv_in", "hidden", "conv_out")]
    model = keras.Sequential([keras.Input((8, 8, 2)), *layers])
    model.compile(Muon(0.03, use_ema=True), "mse")
    images, wanted = (rng.normal(size=(4, side, side, c)) for side, c in ((8, 2), (2, 4)))
    losses = model.fit(images, wanted, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    config = Muon(0.01, adam_lr_ratio=0.3, exclude_layers=["head"]).get_config()
    again = Muon.from_config(config)
    assert again.get_config() == config and again.exclude_layers == ["head"]


def test_embeddings_take_adams_step_unless_told_otherwise():
    embedding = keras.Variable(np.ones((5, 3)), name="embeddings")
    assert Muon()._should_use_adamw(embedding)
    assert Muon(exclude_layers=[])._should_use_adamw(embedding)
    assert not Muon(exclude_embeddings=False)._should_use_adamw(embedding)


@pytest.mark.parametrize("patterns", ["codebook", None])
def test_what_is_no_list_of_patterns_is_refused(patterns):
    with pytest.raises(ValueError, match="`exclude_layers`"):
        Muon(exclude_layers=patterns)

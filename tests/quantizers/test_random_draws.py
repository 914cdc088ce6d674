"""What is sampled while a quantizer trains, and that nothing is at inference.

The seeds are fixed; each bound is the 0.9999 quantile of the statistic, so that a right
implementation on another backend or version passes too.
"""

import itertools

import keras
import numpy as np
import pytest

from keras_regvq.backend.autodiff import losses_and_gradient
from keras_regvq.quantizers import GumbelQuantizer, RegularizedQuantizer, VectorQuantizer
from tests.gradients import assert_close, layer_gradients, layer_outputs
from tests.quantizers.reference import make

SAMPLERS = [RegularizedQuantizer, GumbelQuantizer]


def chi_square(counts, probabilities):
    expected = counts.sum() * probabilities
    return (np.square(counts - expected) / expected).sum()


def nearly_flat(quantizer, rng, **options):
    """A quantizer whose logits are all close: noise changes nearly every token."""
    layer = make(quantizer, rng, **options)
    layer.kernel.assign(1e-3 * layer.kernel)
    layer.bias.assign(1e-3 * layer.bias)
    return layer


# Of 15 positions; 4.5 rounds to the even 4, and 7.5 to 8.
@pytest.mark.parametrize(("mask_ratio", "count"), [(0.01, 0), (0.3, 4), (0.5, 8)])
def test_every_image_has_exactly_round_ratio_times_positions_sampled(mask_ratio, count, rng):
    layer = make(RegularizedQuantizer, rng, mask_ratio=mask_ratio)
    features = rng.normal(size=(6, 5, 3, 5)).astype("float32")
    outputs = layer_outputs(layer, features, training=True)
    assert outputs["mask"].shape == (6, 5, 3) and outputs["mask"].dtype == bool
    np.testing.assert_array_equal(outputs["mask"].sum(axis=(1, 2)), count)
    unmasked = ~outputs["mask"]
    np.testing.assert_array_equal(outputs["tokens"][unmasked], outputs["best_tokens"][unmasked])


def test_masks_differ_between_images_and_between_steps(rng):
    layer = make(RegularizedQuantizer, rng, seed=5)
    features = np.repeat(rng.normal(size=(1, 5, 6, 5)), 8, axis=0).astype("float32")
    masks = [layer_outputs(layer, features, training=True)["mask"] for _ in range(2)]
    # 30 positions, 12 sampled: equal masks have a chance of 1e-8 a pair.
    assert len({mask.tobytes() for mask in np.concatenate(masks)}) == 16


def test_every_subset_of_positions_is_equally_likely(rng):
    layer = make(RegularizedQuantizer, rng, mask_ratio=0.5, seed=11)
    masks = layer_outputs(layer, np.zeros((4000, 2, 3, 5), "float32"), training=True)["mask"]
    subsets = list(itertools.combinations(range(6), 3))
    counts = np.zeros(len(subsets))
    for mask in masks.reshape(4000, 6):
        counts[subsets.index(tuple(np.flatnonzero(mask)))] += 1
    assert len(subsets) == 20
    assert chi_square(counts, np.full(20, 1 / 20)) < 50.8  # 19 degrees of freedom


@pytest.mark.parametrize(
    ("quantizer", "options", "positions"),
    [
        (RegularizedQuantizer, dict(mask_ratio=0.5), 5000),
        (RegularizedQuantizer, dict(mask_ratio=0.5, block_size=5), 5000),
        (GumbelQuantizer, {}, 10000),
    ],
    ids=["regularized", "regularized-in-blocks", "gumbel"],
)
def test_codes_are_drawn_from_the_softmax_of_the_logits(quantizer, options, positions, rng):
    # The temperature shapes the gradient, not the draw.
    layer = make(quantizer, rng, temperature=0.5, seed=13, **options)
    logits = rng.normal(size=11).astype("float32")
    layer.bias.assign(logits)
    outputs = layer_outputs(layer, np.zeros((4, 50, 50, 5), "float32"), training=True)
    counts = np.bincount(outputs["tokens"][outputs["mask"]], minlength=11)
    assert counts.sum() == positions
    probabilities = np.exp(logits) / np.exp(logits).sum()
    assert chi_square(counts, probabilities) < 35.6  # 10 degrees of freedom
    # What this test would see if the temperature, or no noise, were in the draw.
    sharpened = np.exp(2 * logits) / np.exp(2 * logits).sum()
    assert chi_square(counts, sharpened) > 1000
    assert (outputs["best_tokens"] == logits.argmax()).all()


def test_draws_at_different_positions_images_and_steps_are_independent(rng):
    layer = make(RegularizedQuantizer, rng, mask_ratio=1, seed=17)
    layer.bias.assign(np.zeros(11, "float32"))
    features = np.zeros((2, 40, 50, 5), "float32")
    first, second = (layer_outputs(layer, features, training=True)["tokens"] for _ in range(2))
    pairs = {
        "positions": (first[:, :, :-1], first[:, :, 1:]),
        "images": (first[0], first[1]),
        "steps": (first, second),
    }
    for name, (left, right) in pairs.items():
        equal = (left == right).mean()
        deviation = np.sqrt(1 / 11 * 10 / 11 / left.size)
        assert abs(equal - 1 / 11) < 4 * deviation, f"tokens of two {name} agree {equal:.3f}"


@pytest.mark.parametrize("quantizer", SAMPLERS)
def test_inference_is_deterministic_and_draws_nothing(quantizer, rng, no_randomness):
    """Gumbel noise left on at inference is a known defect of other systems."""
    layer = nearly_flat(quantizer, rng)
    features = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    before = keras.ops.convert_to_numpy(layer.seed_generator.state.value)
    outputs = layer_outputs(layer, features)  # training is off unless it is asked for
    again = layer_outputs(layer, features, training=False)
    assert len(outputs) == 6
    for name, value in outputs.items():
        np.testing.assert_array_equal(again[name], value)
    logits = features @ keras.ops.convert_to_numpy(layer.kernel.value)
    logits = logits + keras.ops.convert_to_numpy(layer.bias.value)
    np.testing.assert_array_equal(outputs["tokens"], logits.argmax(-1))
    np.testing.assert_array_equal(outputs["best_tokens"], outputs["tokens"])
    assert not outputs["mask"].any()
    assert not outputs["perturbation"].any()
    after = keras.ops.convert_to_numpy(layer.seed_generator.state.value)
    np.testing.assert_array_equal(after, before)
    tokens = keras.ops.convert_to_numpy(layer.best_tokens(features))
    np.testing.assert_array_equal(tokens, outputs["tokens"])


def test_the_vector_quantizer_is_the_same_in_training_and_draws_nothing(rng, no_randomness):
    layer = make(VectorQuantizer, rng, channels=3)
    features = rng.normal(size=(2, 3, 4, 3)).astype("float32")
    training, inference = (layer_outputs(layer, features, training=t) for t in (True, False))
    for name, value in inference.items():
        np.testing.assert_array_equal(training[name], value)
    assert not inference["mask"].any() and not inference["perturbation"].any()


@pytest.mark.parametrize("quantizer", SAMPLERS)
def test_the_perturbation_is_the_squared_distance_of_used_and_best_code(quantizer, rng):
    layer = nearly_flat(quantizer, rng)
    features = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    outputs, value, gradients = layer_gradients(
        layer, features, lambda outputs: keras.ops.sum(outputs["perturbation"]), training=True
    )
    sampled = outputs["mask"]
    moved = outputs["tokens"] != outputs["best_tokens"]
    assert moved[sampled].mean() > 0.5, "flat logits: training does sample"
    codebook = keras.ops.convert_to_numpy(layer.codebook.value).astype("float64")
    difference = codebook[outputs["tokens"]] - codebook[outputs["best_tokens"]]
    assert_close(outputs["perturbation"], np.square(difference).sum(-1))
    assert not outputs["perturbation"][~sampled].any()

    assert value > 0
    assert set(gradients) == {"inputs", "codebook", "logits_kernel", "logits_bias"}
    assert not any(gradient.any() for gradient in gradients.values()), "no gradient flows"


def test_the_seed_decides_the_draws(rng):
    features = rng.normal(size=(2, 3, 4, 5)).astype("float32")

    def draws(seed):
        layer = nearly_flat(RegularizedQuantizer, np.random.default_rng(1), seed=seed)
        return [layer_outputs(layer, features, training=True)["tokens"] for _ in range(2)]

    one, same, other = draws(1), draws(1), draws(2)
    np.testing.assert_array_equal(one, same)
    assert (one[0] != one[1]).any(), "two steps drew the same"
    assert (one[0] != other[0]).any(), "two seeds drew the same"


@pytest.mark.parametrize("quantizer", SAMPLERS)
def test_noise_that_is_drawn_again_is_the_same_in_the_backward_pass(quantizer, rng):
    """A codebook above block_size keeps seeds, not noise: the same gradient as with kept noise."""
    small, large = (
        make(quantizer, np.random.default_rng(1), block_size=size, seed=3, temperature=0.5)
        for size in (3, 11)
    )
    features = rng.normal(size=(2, 10, 5)).astype("float32")
    noise = small.gumbel_noise(2, 10)
    chunks = [keras.ops.convert_to_numpy(noise[index]) for index in range(4)]
    assert len({chunk.tobytes() for chunk in chunks}) == 4, "two chunks share their noise"
    kept = keras.ops.convert_to_tensor(np.concatenate(chunks, axis=1)[:, :10])

    def slope(layer, noise):
        upstream = keras.ops.convert_to_tensor(np.arange(60, dtype="float32").reshape(2, 10, 3))

        def loss(features):
            return {"": keras.ops.sum(layer.look_up(features, noise)["embeddings"] * upstream)}

        loss_value, gradient = losses_and_gradient(loss, keras.ops.convert_to_tensor(features))
        return keras.ops.convert_to_numpy(loss_value[""]), keras.ops.convert_to_numpy(gradient)

    for actual, expected in zip(slope(small, noise), slope(large, [kept]), strict=True):
        assert np.abs(expected).max() > 1
        assert_close(actual, expected)


def test_the_seed_decides_the_draws_of_a_codebook_in_blocks(rng):
    features = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    layers = [
        nearly_flat(RegularizedQuantizer, np.random.default_rng(1), seed=seed, block_size=3)
        for seed in (1, 1, 2)
    ]
    steps = [[layer_outputs(x, features, training=True)["tokens"] for _ in "12"] for x in layers]
    np.testing.assert_array_equal(steps[0], steps[1])
    assert (steps[0][0] != steps[0][1]).any(), "two steps drew the same"
    assert (steps[0][0] != steps[2][0]).any(), "two seeds drew the same"


def test_a_codebook_in_blocks_trains_on_images_whose_size_the_graph_does_not_know(rng):
    layer = make(RegularizedQuantizer, rng, block_size=3, prior_scope="image")
    inputs = keras.Input((None, None, 5))
    model = keras.Model(inputs, layer(inputs)["embeddings"])
    model.compile("sgd", "mse")
    before = layer.get_weights()
    for side in (3, 4):  # on TensorFlow the second size is traced as unknown
        features = rng.normal(size=(2, side, 4, 5)).astype("float32")
        loss = model.train_on_batch(features, np.zeros((2, side, 4, 3), "float32"))
        assert np.isfinite(loss)
    moved = [np.abs(a - b).max() for a, b in zip(layer.get_weights(), before, strict=True)]
    assert sum(move > 0 for move in moved) == 3, "codebook, kernel and bias"

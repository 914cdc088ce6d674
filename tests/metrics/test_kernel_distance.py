import keras
import numpy as np
import pytest
from keras import ops

from keras_regvq.metrics import KernelDistance, kernel_distance


def direct_distance(real, generated):
    """The formula, pair by pair."""

    def kernel(x, y):
        return (sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def mean_of_different(xs):
        pairs = [(i, j) for i in range(len(xs)) for j in range(len(xs)) if i != j]
        return np.mean([kernel(xs[i], xs[j]) for i, j in pairs])

    between = np.mean([kernel(x, y) for x in real for y in generated])
    return mean_of_different(real) + mean_of_different(generated) - 2 * between


def two_sets(count=9, other=6, size=5, seed=0):
    generator = np.random.default_rng(seed)
    real = generator.standard_normal((count, size)).astype("float32")
    return real, (0.5 + 1.3 * generator.standard_normal((other, size))).astype("float32")


def images_like(count, seed=0, side=8):
    return np.random.default_rng(seed).uniform(0, 1, (count, side, side, 3)).astype("float32")


def corners(images):
    """Features that NumPy can check: three pixels of each image, (B, 9)."""
    return ops.concatenate([images[:, 0, 0], images[:, 0, -1], images[:, -1, -1]], axis=-1)


def distance_of(real, generated, extractor=None):
    metric = KernelDistance(extractor)
    metric.update_state(real, generated)
    return float(metric.result())


@pytest.mark.parametrize("count, other", [(9, 6), (2, 2), (2, 11), (7, 7)])
def test_distance_of_features_is_the_formula_over_all_pairs(count, other):
    real, generated = two_sets(count, other)
    expected = direct_distance(real, generated)
    assert distance_of(real, generated) == pytest.approx(expected, rel=1e-5)


def test_features_of_another_scale_and_many_blocks_give_the_same_sums(monkeypatch):
    real, generated = two_sets(23, 17)
    monkeypatch.setattr(kernel_distance, "_BLOCK", 5)
    expected = direct_distance(100 * real, 100 * generated)
    assert distance_of(100 * real, 100 * generated) == pytest.approx(expected, rel=1e-5)


def test_uneven_batches_of_each_set_alone_in_any_order_give_one_number():
    real, generated = two_sets(9, 6)
    expected = direct_distance(real, generated)
    metric = KernelDistance()
    metric.update_state(y_pred=generated[4:])
    metric.update_state(y_true=real[:1])
    metric.update_state(real[1:3], generated[:1])
    metric.update_state(y_true=real[3:][::-1])
    metric.update_state(None, generated[1:4])
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)  # asking changes nothing


def test_each_pass_after_a_reset_starts_anew():
    metric = KernelDistance()
    for seed in range(3):
        real, generated = two_sets(8, 5, seed=seed)
        metric.update_state(real, generated)
        expected = direct_distance(real, generated)
        assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
        metric.reset_state()
    with pytest.raises(ValueError, match="`y_true`.*0 real images"):
        metric.result()


def test_identical_sets_are_below_zero_by_what_the_pairs_of_equals_weigh():
    real, _ = two_sets(6)
    kernel = (real.astype("float64") @ real.T / 5 + 1) ** 3
    equal, different = np.trace(kernel) / 6, (kernel.sum() - np.trace(kernel)) / 30
    expected = 2 * (different - equal) / 6
    assert expected < 0
    assert distance_of(real, real) == pytest.approx(expected, rel=1e-5)
    constant = np.ones((4, 3), "float32")
    assert distance_of(constant, constant) == pytest.approx(0.0, abs=1e-6)


def test_the_mean_over_draws_is_zero_for_one_distribution_and_not_for_two():
    generator = np.random.default_rng(3)
    draws = generator.standard_normal((400, 2, 5, 4))
    same = np.array([distance_of(*draw) for draw in draws])
    assert abs(same.mean()) < 4 * same.std() / 20
    moved = np.array([distance_of(draw[0], draw[1] + 1) for draw in draws])
    assert moved.mean() > 10 * moved.std() / 20


def test_features_whose_distance_is_far_below_their_kernels_keep_their_digits():
    generator = np.random.default_rng(0)
    real = 30 + generator.standard_normal((20, 6))
    generated = 30.01 + generator.standard_normal((20, 6))
    expected = direct_distance(real, generated)  # about 2e-4 of one kernel
    assert distance_of(real, generated) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["function", "model", "map", "list"])
def test_images_are_measured_by_their_features(kind):
    real, generated = images_like(7), images_like(4, seed=1) ** 2
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(5, 3, strides=2)(inputs))
    kernel, bias = (np.asarray(w, "float64") for w in model.get_weights())

    def convolved(images):
        means = []
        for image in images.astype("float64"):
            patches = [image[i : i + 3, j : j + 3] for i in (0, 2, 4) for j in (0, 2, 4)]
            means.append(np.mean([np.tensordot(p, kernel, 3) + bias for p in patches], axis=0))
        return means

    extractor, reference = {
        "function": (corners, lambda images: ops.convert_to_numpy(corners(images))),
        "model": (keras.Sequential([model, keras.layers.GlobalAveragePooling2D()]), convolved),
        "map": (model, convolved),
        "list": (lambda images: [images, images[:, :2], model(images)], convolved),
    }[kind]
    expected = direct_distance(reference(real), reference(generated))
    assert distance_of(real, generated, extractor) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_uint8_images_are_those_in_0_to_1_and_sizes_may_differ():
    real = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    generated = np.random.default_rng(1).integers(0, 200, (4, 12, 10, 3), np.uint8)
    pick = [np.concatenate([i[0, 0], i[0, -1], i[-1, -1]]) / 255 for i in (*real, *generated)]
    expected = direct_distance(pick[:5], pick[5:])
    assert distance_of(real, generated, corners) == pytest.approx(expected, rel=1e-4)
    as_floats = ops.convert_to_tensor(real / np.float32(255))
    assert distance_of(as_floats, generated, corners) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("y_true, y_pred, message", [
    (1, 3, "`y_true`.*1 real image since.*at least 2"),
    (3, 1, "`y_pred`.*1 generated image since.*at least 2"),
    (3, None, "`y_pred`.*0 generated images.*at least 2"),
    (None, 3, "`y_true`.*0 real images.*at least 2"),
])  # fmt: skip
def test_less_than_two_images_of_a_set_are_refused(y_true, y_pred, message):
    metric = KernelDistance(corners)
    given = [None if n is None else images_like(n) for n in (y_true, y_pred)]
    metric.update_state(*given)
    with pytest.raises(ValueError, match=message):
        metric.result()
    metric.update_state(images_like(2), images_like(2))
    assert np.isfinite(float(metric.result()))


def test_wrong_arguments_are_refused_and_nothing_is_kept():
    real, generated = two_sets()
    images = images_like(3)
    of_features, of_images = KernelDistance(), KernelDistance(corners)
    wrong = [
        (of_features, (None, None), "`y_true and y_pred`.*None"),
        (of_features, (real, generated, np.ones(9)), "`sample_weight`"),
        (of_features, (real, images), "`y_pred`.*a feature_extractor"),
        (of_features, (real, generated[:, :3]), "`y_true and y_pred`.*sizes 3, 5"),
        (of_images, (images, images[0]), "`y_pred`.*shape"),
        (of_images, (images, images * 255), r"`y_pred`.*float values from.*\[0, 1\]"),
        (of_images, (images, images.astype("int32")), "`y_pred`.*int32"),
        (of_images, (images, [1, 2]), "`y_pred`"),
    ]
    for metric, arguments, message in wrong:
        with pytest.raises(ValueError, match=message):
            metric.update_state(*arguments)
    for metric in (of_features, of_images):
        with pytest.raises(ValueError, match="0 real images"):
            metric.result()
    of_features.update_state(y_true=real)
    with pytest.raises(ValueError, match="`y_pred`.*sizes 3, 5"):
        of_features.update_state(y_pred=generated[:, :3])


@pytest.mark.parametrize("extractor, received", [
    (lambda images: corners(images)[:2], r"\(2, 9\)"),
    (lambda images: ops.reshape(images, (3, -1, 8)), r"\(3, 24, 8\)"),
    (lambda images: {"features": images}, "dict"),
])  # fmt: skip
def test_features_that_do_not_fit_are_refused(extractor, received):
    with pytest.raises(ValueError, match=f"`feature_extractor`.*{received}.*of 3 images"):
        KernelDistance(extractor).update_state(images_like(3))
    with pytest.raises(ValueError, match="`feature_extractor`.*a model or function"):
        KernelDistance("inception")


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_in_compile_it_is_refused_where_values_are_unknown_and_right_elsewhere(run_eagerly):
    real, generated = two_sets(7, 7)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Rescaling(1.0)])
    model.compile("sgd", "mse", metrics=[KernelDistance()], run_eagerly=run_eagerly)

    def evaluate():
        logs = model.evaluate(generated, real, batch_size=3, verbose=0, return_dict=True)
        return logs["kernel_distance"]

    is_traced = {"jax": True, "tensorflow": not run_eagerly, "torch": False}
    if is_traced[keras.backend.backend()]:
        with pytest.raises(ValueError, match="`y_true`.*symbolic tensor.*compiled functions"):
            evaluate()
    else:
        expected = pytest.approx(direct_distance(real, generated), rel=1e-4)
        assert evaluate() == expected
        assert evaluate() == expected  # Keras resets it before each pass


def test_a_symbolic_input_is_refused():
    with pytest.raises(ValueError, match="`y_true`.*symbolic tensor.*compiled"):
        KernelDistance().update_state(keras.Input((5,)))


def test_a_copy_from_the_config_takes_features_and_no_images():
    metric = KernelDistance(corners, name="distance")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(copy) is KernelDistance and copy.name == "distance"
    with pytest.raises(ValueError, match="a feature_extractor"):
        copy.update_state(images_like(2))
    copy.update_state(*two_sets())
    assert float(copy.result()) == pytest.approx(direct_distance(*two_sets()), rel=1e-5)

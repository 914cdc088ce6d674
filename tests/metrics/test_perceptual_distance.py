import keras
import numpy as np
import pytest
from keras import ops

from keras_regvq.losses import perceptual_loss
from keras_regvq.metrics import PerceptualDistance


def features(images):
    return [images, images[:, ::2, ::3] * 2 - 1]


def pairs(rng, count=5):
    return (rng.random((count, 6, 9, 3), dtype="float32") for _ in range(2))


def by_definition(real, made):
    total = 0.0
    for y, z in zip(features(real.astype("float64")), features(made), strict=True):
        y, z = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (y, z))
        total = total + np.square(y - z).sum(-1).mean((1, 2))
    return total


def test_it_is_the_mean_over_images_whatever_the_batches(rng):
    real, made = pairs(rng)
    expected = by_definition(real, made)
    metric = PerceptualDistance(features)
    for part in (slice(0, 2), slice(2, 5)):
        metric.update_state(real[part], made[part])
    assert float(metric.result()) == pytest.approx(expected.mean(), rel=1e-5)
    metric.reset_state()
    metric.update_state(real[:1], made[:1])
    assert float(metric.result()) == pytest.approx(expected[0], rel=1e-5)
    metric.reset_state()
    metric.update_state(real, made, sample_weight=np.float32([1, 0, 0, 0, 3]))
    assert float(metric.result()) == pytest.approx((expected[0] + 3 * expected[4]) / 4, rel=1e-5)


def test_it_is_the_losss_number_and_zero_for_equal_and_constant_images(rng):
    real, made = map(ops.convert_to_tensor, pairs(rng))
    metric = PerceptualDistance(features)
    metric.update_state(real, made)
    loss = perceptual_loss(features(real), features(made))
    assert float(metric.result()) == pytest.approx(float(loss), rel=1e-5)
    for same in (real, ops.zeros((1, 6, 9, 3))):
        metric.reset_state()
        metric.update_state(same, same)
        assert float(metric.result()) == 0


def test_uint8_images_are_those_in_0_to_1_and_wrong_ones_are_refused(rng):
    real, made = (rng.integers(0, 256, (2, 6, 9, 3), dtype="uint8") for _ in range(2))
    metric, floats = PerceptualDistance(features), PerceptualDistance(features)
    metric.update_state(real, made)
    floats.update_state(real / np.float32(255), made / np.float32(255))
    assert float(metric.result()) == pytest.approx(float(floats.result()), rel=1e-5)
    with pytest.raises(ValueError, match="y_pred"):
        metric.update_state(real, made[:, :4])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        metric.update_state(real, made.astype("float32"))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    with pytest.raises(ValueError, match="feature_extractor"):
        copy.update_state(real, made)

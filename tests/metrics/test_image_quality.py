import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops
from skimage.metrics import structural_similarity

from keras_regvq.metrics import PSNR, SSIM


def images_and_noisy(count=7, height=24, width=31, channels=3, seed=0):
    """Smooth images, since SSIM says little about noise, and noisy copies, noisier one by one."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    phase = generator.uniform(0, 6, (count, 1, 1, channels))
    images = 0.5 + 0.4 * np.sin(0.3 * x[..., None] + 0.2 * y[..., None] + phase)
    noise = generator.standard_normal(images.shape)
    noise *= np.linspace(0.02, 0.3, count)[:, None, None, None]
    return images.astype("float32"), np.clip(images + noise, 0, 1).astype("float32")


def numpy_psnr(images, noisy):
    squared_error = np.mean((images.astype("float64") - noisy) ** 2, axis=(1, 2, 3))
    return 10 * np.log10(1 / squared_error)


def skimage_ssim(images, noisy):
    return [
        structural_similarity(
            a,
            b,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
        )
        for a, b in zip(images.astype("float64"), noisy.astype("float64"), strict=True)
    ]


REFERENCES = [(PSNR, numpy_psnr, 1e-4), (SSIM, skimage_ssim, 1e-4)]


@pytest.mark.parametrize("metric_class, reference, tolerance", REFERENCES)
def test_metric_over_uneven_batches_is_the_mean_over_images(metric_class, reference, tolerance):
    images, noisy = images_and_noisy()
    metric = metric_class()
    for batch in (slice(0, 3), slice(3, 6), slice(6, 7)):
        metric.update_state(images[batch], noisy[batch])
    assert float(metric.result()) == pytest.approx(np.mean(reference(images, noisy)), abs=tolerance)

    metric.reset_state()
    metric.update_state(images[2:3], noisy[2:3])
    expected = reference(images[2:3], noisy[2:3])[0]
    assert float(metric.result()) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("metric_class, reference, tolerance", REFERENCES)
def test_sample_weights_weigh_images(metric_class, reference, tolerance):
    images, noisy = images_and_noisy(count=3)
    metric = metric_class()
    metric.update_state(images, noisy, sample_weight=np.array([1.0, 0.0, 3.0], "float32"))
    values = reference(images, noisy)
    expected = (values[0] + 3 * values[2]) / 4
    assert float(metric.result()) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("height, width, channels", [(11, 11, 3), (11, 40, 1), (64, 13, 3)])
def test_ssim_equals_scikit_image_at_other_sizes_and_channel_counts(height, width, channels):
    images, noisy = images_and_noisy(2, height, width, channels)
    metric = SSIM()
    metric.update_state(images, noisy)
    assert float(metric.result()) == pytest.approx(np.mean(skimage_ssim(images, noisy)), abs=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_identical_and_constant_images_give_100_db_and_ssim_1(value):
    images = np.full((2, 16, 16, 3), value, "float32")
    for metric, expected in ((PSNR(), 100.0), (SSIM(), 1.0)):
        metric.update_state(images, images)
        assert float(metric.result()) == pytest.approx(expected, abs=1e-4)


def test_two_constant_images_have_the_psnr_and_ssim_of_the_formula():
    black, gray = np.zeros((1, 16, 16, 3), "float32"), np.full((1, 16, 16, 3), 0.1, "float32")
    psnr, ssim = PSNR(), SSIM()
    psnr.update_state(black, gray)
    ssim.update_state(black, gray)
    assert float(psnr.result()) == pytest.approx(20.0, abs=1e-4)
    assert float(ssim.result()) == pytest.approx(1e-4 / (0.01 + 1e-4), abs=1e-5)


@pytest.mark.parametrize("metric_class", [PSNR, SSIM])
def test_uint8_and_another_max_value_give_the_same_number(metric_class):
    images, noisy = ((255 * array).astype("uint8") for array in images_and_noisy(2))
    results = []
    for max_value, a, b in (
        (1.0, images / np.float32(255), noisy / np.float32(255)),
        (1.0, images, noisy),
        (1.0, images, noisy / np.float32(255)),
        (255.0, images.astype("float32"), noisy.astype("float32")),
        (255.0, images.astype("float32"), noisy),
    ):
        metric = metric_class(max_value=max_value)
        metric.update_state(a, b)
        results.append(float(metric.result()))
    assert results == pytest.approx([results[0]] * 5, rel=1e-5)


@pytest.mark.parametrize("metric_class", [PSNR, SSIM])
@pytest.mark.parametrize("wrong", ["y_true", "y_pred"])
@pytest.mark.parametrize("scale, offset", [(2.0, -1.0), (255.0, 0.0)])
def test_images_in_another_range_are_refused(metric_class, wrong, scale, offset):
    images, _ = images_and_noisy(2)
    arguments = {"y_true": images, "y_pred": images}
    arguments[wrong] = images * np.float32(scale) + np.float32(offset)
    metric = metric_class()
    with pytest.raises(ValueError, match=rf"`{wrong}` is wrong.*float values from.*\[0, 1\]"):
        metric.update_state(**arguments)
    metric.update_state(images, images)
    assert np.isfinite(float(metric.result()))


@pytest.mark.parametrize("metric_class", [PSNR, SSIM])
def test_wrong_shapes_and_dtypes_are_refused(metric_class):
    images, _ = images_and_noisy(2)
    metric = metric_class()
    with pytest.raises(ValueError, match="`y_true`.*shape"):
        metric.update_state(images[0], images[0])
    with pytest.raises(ValueError, match="`y_pred`.*shape"):
        metric.update_state(images, images[:, :-1])
    with pytest.raises(ValueError, match="`y_pred`.*int32"):
        metric.update_state(images, images.astype("int32"))
    with pytest.raises(ValueError, match="`max_value`"):
        metric_class(max_value=0)


def test_images_smaller_than_the_window_are_refused_by_ssim_only():
    images = np.zeros((1, 16, 10, 3), "float32")
    PSNR().update_state(images, images)
    with pytest.raises(ValueError, match="at least 11"):
        SSIM().update_state(images, images)


def test_half_precision_predictions_are_measured_in_float32():
    images, noisy = images_and_noisy(2)
    metric = PSNR()
    metric.update_state(images, ops.cast(noisy, "bfloat16"))
    rounded = ops.convert_to_numpy(ops.cast(ops.cast(noisy, "bfloat16"), "float32"))
    assert float(metric.result()) == pytest.approx(np.mean(numpy_psnr(images, rounded)), abs=1e-3)


def compiled_scaler(scale):
    """A model that multiplies images by a number, with both metrics, ready to fit and evaluate."""
    inputs = keras.Input((24, 31, 3))
    outputs = keras.layers.DepthwiseConv2D(
        1, use_bias=False, depthwise_initializer=keras.initializers.Constant(scale)
    )(inputs)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=[PSNR(), SSIM()])
    return model


def test_metrics_in_a_compiled_fit_cover_the_epoch_and_its_uneven_last_batch():
    images, _ = images_and_noisy(7)
    history = compiled_scaler(0.9).fit(images, images, batch_size=3, epochs=2, verbose=0).history
    darker = images * np.float32(0.9)
    for epoch in range(2):
        psnr, ssim = history["psnr"][epoch], history["ssim"][epoch]
        assert psnr == pytest.approx(np.mean(numpy_psnr(images, darker)), abs=1e-3)
        assert ssim == pytest.approx(np.mean(skimage_ssim(images, darker)), abs=1e-4)


def test_a_wrong_range_inside_a_compiled_function_is_an_error_or_nan_but_never_a_number():
    images, _ = images_and_noisy(4)
    try:
        logs = compiled_scaler(255.0).evaluate(images, images, verbose=0, return_dict=True)
    except ValueError as error:
        assert "float values from" in str(error)
    else:
        assert np.isnan(logs["psnr"]) and np.isnan(logs["ssim"])


@pytest.mark.parametrize("metric_class", [PSNR, SSIM])
def test_config_round_trip(metric_class):
    metric = metric_class(max_value=255.0, name="quality")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(copy) is metric_class
    assert copy.get_config() == metric.get_config()
    assert copy.max_value == 255.0 and copy.name == "quality"


@pytest.mark.seldom
@pytest.mark.one_backend
def test_importing_the_metrics_imports_neither_keras_hub_nor_a_foreign_tensorflow():
    code = (
        "import sys, keras, keras_regvq.metrics\n"
        "foreign = keras.backend.backend() != 'tensorflow' and 'tensorflow' in sys.modules\n"
        "sys.exit('keras_hub' in sys.modules or foreign)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0

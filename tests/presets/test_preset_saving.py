"""A preset is saved whole or not at all, and what was saved can be loaded."""

import os
import random
import time

import h5py
import keras
import numpy as np
import pytest

import keras_regvq
from keras_regvq import models, quantizers
from keras_regvq.models import ImageTokenizer, preset_model
from tests.files.test_replacing import small_disk
from tests.models.priors.tiny_diffusion import make_diffusion_prior
from tests.models.priors.tiny_prior import CLASSES, make_map_prior, make_prior, random_maps

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype="uint8")


def make_tokenizer(channels=8, seed=0, quantizer=None):
    keras.utils.set_random_seed(seed)
    quantizer = quantizer or quantizers.VectorQuantizer(16, 8)
    return ImageTokenizer(16, quantizer, channels, (1, 2), 1, (), latent_channels=8)


def test_killed_at_any_time_the_old_or_the_new_preset_is_there(tmp_path):
    old, new = make_tokenizer(), make_tokenizer(16, seed=1)
    expected = [model.encode(IMAGES) for model in (old, new)]
    preset, delays = tmp_path / "preset", random.Random(0)
    old.save_to_preset(preset)
    started = time.perf_counter()
    new.save_to_preset(preset)
    seconds, found = time.perf_counter() - started, []
    for _ in range(8):
        old.save_to_preset(preset)
        process = os.fork()
        if process == 0:
            new.save_to_preset(preset)
            os._exit(0)
        time.sleep(delays.uniform(0, 1.1) * seconds)
        os.kill(process, 9)
        os.waitpid(process, 0)
        tokens = keras_regvq.from_preset(preset).encode(IMAGES)
        found.append([np.array_equal(tokens, wanted) for wanted in expected])
    assert all(sum(equal) == 1 for equal in found)


@pytest.mark.parametrize("limit", [100, 20_000])
def test_a_full_disk_is_an_error_that_names_the_preset_and_keeps_the_old_one(tmp_path, limit):
    old = make_tokenizer()
    old.save_to_preset(tmp_path / "preset")
    with small_disk(limit), pytest.raises(OSError, match="preset"):
        make_tokenizer(32).save_to_preset(tmp_path / "preset", "float16")
    loaded = keras_regvq.from_preset(tmp_path / "preset")
    np.testing.assert_array_equal(loaded.encode(IMAGES), old.encode(IMAGES))


def test_saving_again_keeps_the_users_files_and_nothing_of_the_old_preset(tmp_path, monkeypatch):
    make_tokenizer().save_to_preset(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "model_00000.weights.h5").write_bytes(b"a shard")
    monkeypatch.chdir(tmp_path)
    new = make_tokenizer(16)
    new.save_to_preset(".")
    assert set(os.listdir(tmp_path)) == {
        "README.md", "config.json", "metadata.json", "model.weights.h5",
    }  # fmt: skip
    np.testing.assert_array_equal(keras_regvq.from_preset(".").encode(IMAGES), new.encode(IMAGES))


@pytest.mark.parametrize("dtype, looks", [("float32", 1), ("float16", 2)])
def test_weights_are_looked_at_once_for_each_dtype(tmp_path, monkeypatch, dtype, looks):
    model, seen = make_tokenizer(), []
    monkeypatch.setattr(preset_model, "is_finite", lambda values: seen.append(values.dtype) or True)
    model.save_to_preset(tmp_path / "preset", dtype)
    floats = [weight for weight in model.weights if weight.dtype == "float32"]
    assert len(seen) == len(model.weights) + (looks - 1) * len(floats)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = make_tokenizer()
    model.save_to_preset(tmp_path / "preset")
    kernel = model.encoder.get_layer("conv_in").kernel
    values = keras.ops.convert_to_numpy(kernel).copy()
    for bad, dtype, message in (
        (1e6, "float16", "weights_dtype.*kernel"),
        (np.nan, "float32", "kernel.*not finite"),
        (np.inf, "float16", "kernel.*not finite"),
    ):
        values[0, 0, 0, 0] = bad
        kernel.assign(values)
        with pytest.raises(ValueError, match=message):
            model.save_to_preset(tmp_path / "preset", dtype)
    keras_regvq.from_preset(tmp_path / "preset")

    names = []
    with h5py.File(tmp_path / "preset" / "model.weights.h5", "r+") as file:
        file.visit(lambda name: names.append(name) if name.endswith("conv2d/vars/0") else None)
        file[names[0]][0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=f"model.weights.h5.*{names[0]}.*not finite"):
        keras_regvq.from_preset(tmp_path / "preset")


def test_half_precision_variables_come_back(tmp_path):
    model = ImageTokenizer(
        16, quantizers.VectorQuantizer(16, 8), 8, (1, 2), 1, (), latent_channels=8, dtype="bfloat16"
    )
    model.save_to_preset(tmp_path)
    for dtype in ("bfloat16", "float32"):
        loaded = keras_regvq.from_preset(tmp_path, dtype=dtype)
        for saved, found in zip(model.weights, loaded.weights, strict=True):
            values = [keras.ops.cast(variable, "float32") for variable in (saved, found)]
            np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, values))


@pytest.mark.parametrize("argument", [5, None, b"preset", ["preset"], "", "hf://user/name", 1.5])
def test_what_is_no_folder_is_refused_by_name(argument):
    with pytest.raises(ValueError, match="`directory`"):
        make_tokenizer().save_to_preset(argument)


@pytest.mark.seldom
@pytest.mark.filterwarnings("ignore:.*quantiz")
@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("kind", ["autoregressive", "diffusion"])
def test_a_quantized_prior_comes_back_quantized(tmp_path, kind, mode):
    if kind == "autoregressive":
        prior = make_map_prior(num_layers=1)
    else:
        condition = models.ClassCondition(CLASSES)
        prior = make_diffusion_prior(
            condition=condition, channel_multipliers=(1,), attention_levels=()
        )
    prior.quantize(mode)
    prior.save_to_preset(tmp_path)
    loaded = keras_regvq.from_preset(tmp_path)
    modes = [
        [getattr(layer, "quantization_mode", None) for layer in model._flatten_layers()]
        for model in (prior, loaded)
    ]
    assert modes[0] == modes[1] and mode in modes[0]
    for saved, found in zip(prior.weights, loaded.weights, strict=True):
        assert saved.dtype == found.dtype
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (saved.value, found.value)))
    if (kind, mode) == ("autoregressive", "int8"):  # compiling takes its time
        samples = [model.generate(random_maps(1), seed=0) for model in (prior, loaded)]
        np.testing.assert_array_equal(*samples)


@pytest.mark.filterwarnings("ignore:.*quantiz")
def test_one_quantized_layer_alone_comes_back(tmp_path):
    prior = make_prior()
    prior.head.quantize("int8")
    prior.save_to_preset(tmp_path)
    loaded = keras_regvq.from_preset(tmp_path)
    quantized = [
        layer.name for layer in loaded._flatten_layers() if getattr(layer, "quantization_mode", 0)
    ]
    assert quantized == [prior.head.name]


@pytest.mark.filterwarnings("ignore:.*quantiz")
def test_a_quantization_that_would_not_come_back_is_refused(tmp_path):
    prior = make_prior()
    prior.quantize("float8")
    with pytest.raises(ValueError, match="float8.*int8, int4"):
        prior.save_to_preset(tmp_path / "float8")
    prior = make_prior()
    prior.quantize("int8", keras.quantizers.Int8QuantizationConfig(activation_quantizer=None))
    with pytest.raises(ValueError, match="other settings"):
        prior.save_to_preset(tmp_path / "weights_only")
    assert not os.listdir(tmp_path)


class PlainQuantizer(quantizers.VectorQuantizer):
    """Not registered."""


@keras.saving.register_keras_serializable(package="tests_of_presets")
class RegisteredQuantizer(quantizers.VectorQuantizer):
    """Registered by a user's module."""


def test_quantizers_of_the_users_own_are_loaded(tmp_path):
    model = make_tokenizer(quantizer=RegisteredQuantizer(16, 8))
    model.save_to_preset(tmp_path / "registered")
    loaded = keras_regvq.from_preset(tmp_path / "registered")
    assert type(loaded.quantizer) is RegisteredQuantizer
    np.testing.assert_array_equal(loaded.encode(IMAGES), model.encode(IMAGES))

    model = make_tokenizer(quantizer=PlainQuantizer(16, 8))
    model.save_to_preset(tmp_path / "plain")
    with pytest.raises(ValueError, match="plain'.*custom_objects.*PlainQuantizer"):
        keras_regvq.from_preset(tmp_path / "plain")
    objects = {"PlainQuantizer": PlainQuantizer}
    for load in (keras_regvq.from_preset, ImageTokenizer.from_preset):
        loaded = load(tmp_path / "plain", custom_objects=objects)
        assert type(loaded.quantizer) is PlainQuantizer
        np.testing.assert_array_equal(loaded.encode(IMAGES), model.encode(IMAGES))


@pytest.mark.filterwarnings("ignore:.*lambda")
def test_a_function_in_a_config_is_refused_before_anything_is_written(tmp_path):
    model = make_tokenizer()
    model.quantizer.codebook_initializer = lambda shape, dtype: keras.ops.zeros(shape, dtype)
    with pytest.raises(ValueError, match="Argument `model`.*to be saved"):
        model.save_to_preset(tmp_path / "preset")
    assert not os.listdir(tmp_path)

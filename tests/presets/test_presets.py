import json
import os
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest

import keras_regvq
from keras_regvq import presets
from keras_regvq.models import DiffusionPrior, ImageTokenizer
from keras_regvq.quantizers import RegularizedQuantizer, VectorQuantizer
from tests.presets.formats import peer_models

BACKENDS = ("tensorflow", "jax", "torch")

LOAD_AND_RUN = """
import sys, numpy as np, keras_regvq
tokenizer = keras_regvq.from_preset(sys.argv[1])
data = np.load(sys.argv[2])
tokens = tokenizer.encode(data["images"])
assert (tokens == data["tokens"]).all(), (tokens != data["tokens"]).sum()
difference = np.abs(tokenizer.decode(tokens) - data["decoded"]).max()
assert difference < 1e-4, difference
print("difference", difference)
"""


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), dtype="uint8")


@pytest.fixture(scope="module")
def tokenizer():
    keras.utils.set_random_seed(3)
    quantizer = RegularizedQuantizer(32, 16, seed=1)
    return ImageTokenizer(
        16, quantizer, 8, (1, 2), 1, attention_resolutions=(8,), latent_channels=8
    )


@pytest.fixture
def preset(tokenizer, tmp_path):
    tokenizer.save_to_preset(str(tmp_path / "preset"))
    return tmp_path / "preset"


@pytest.mark.one_backend
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != keras.backend.backend()])
def test_a_preset_saved_here_gives_the_same_in_a_new_process_on_the_other_backends(
    backend, preset, tokenizer, images, tmp_path
):
    tokens = tokenizer.encode(images)
    np.savez(tmp_path / "data.npz", images=images, tokens=tokens, decoded=tokenizer.decode(tokens))
    result = subprocess.run(
        [sys.executable, "-c", LOAD_AND_RUN, str(preset), str(tmp_path / "data.npz")],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]


def test_a_preset_holds_config_and_weights_and_neither_optimizer_nor_loss_networks(preset):
    assert {path.name for path in preset.iterdir()} == {
        "config.json",
        "metadata.json",
        "README.md",
        "model.weights.h5",
    }
    names = []
    with h5py.File(preset / "model.weights.h5") as file:
        file.visit(names.append)
    assert not [name for name in names if "optimizer" in name or "discriminator" in name]


def test_the_class_method_and_the_function_load_the_same(preset, tokenizer, images):
    for loaded in (ImageTokenizer.from_preset(preset), keras_regvq.from_preset(str(preset))):
        assert type(loaded) is ImageTokenizer
        np.testing.assert_array_equal(loaded.encode(images), tokenizer.encode(images))


@pytest.mark.one_backend
def test_a_class_reads_what_the_function_reads_and_refuses_another_class(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"state_dict": peer_models.taming_model().state_dict()}, tmp_path / "vq.ckpt")
    loaded = ImageTokenizer.from_preset(tmp_path / "vq.ckpt", image_size=32)
    expected = keras_regvq.from_preset(tmp_path / "vq.ckpt", image_size=32)
    tokens = loaded.encode(peer_models.images(32))
    np.testing.assert_array_equal(tokens, expected.encode(peer_models.images(32)))
    with pytest.raises(ValueError, match="holds an ImageTokenizer.*a preset of DiffusionPrior"):
        DiffusionPrior.from_preset(tmp_path / "vq.ckpt")
    with pytest.raises(ValueError, match="keras_regvq>ImageTokenizer.*a preset of DiffusionPrior"):
        DiffusionPrior.from_preset("regvq_f4_256")


MODELS_ALONE = """
import sys
from keras_regvq.models import ImageTokenizer
assert "keras_regvq.presets" not in sys.modules
for preset in sys.argv[1:]:
    print(type(ImageTokenizer.from_preset(preset)).__name__)
"""


@pytest.mark.seldom
@pytest.mark.one_backend
def test_who_imports_the_models_alone_loads_presets(preset):
    arguments = [sys.executable, "-c", MODELS_ALONE, "regvq_f4_256", str(preset)]
    result = subprocess.run(arguments, capture_output=True, text=True)
    assert result.stdout.split() == ["ImageTokenizer"] * 2, result.stderr[-3000:]


@pytest.mark.one_backend
def test_overrides_reach_the_constructor(preset):
    loaded = keras_regvq.from_preset(preset, load_weights=False, dtype="bfloat16", dropout=0.5)
    assert loaded.encoder.get_layer("conv_in").compute_dtype == "bfloat16"
    assert loaded.decoder.get_layer("conv_out").compute_dtype == "float32"
    assert loaded.quantizer.compute_dtype == "float32"
    assert loaded.get_config()["dropout"] == 0.5


def test_the_small_built_in_preset_is_the_documented_one():
    tokenizer = keras_regvq.from_preset("regvq_patch4_256")
    assert (tokenizer.codebook_size, tokenizer.token_grid) == (256, (16, 16))
    assert (tokenizer.patch_size, tokenizer.quantizer.logits) == (4, "cosine")
    assert keras_regvq.from_preset("regvq_f4_256").token_grid == (16, 16)  # its old name
    assert isinstance(tokenizer.quantizer, RegularizedQuantizer)


@pytest.mark.parametrize("name", ["regvq_f16_1024", "vqgan_f16_1024", "gumbelvq_f16_1024"])
def test_the_built_in_presets_of_the_papers_size_hold_the_papers_topology(name):
    config = json.loads((presets.BUILTIN_DIRECTORY / name / "config.json").read_text())["config"]
    assert name in presets.builtin_presets()
    assert config["image_size"] == [256, 256]
    assert (config["base_channels"], config["latent_channels"]) == (128, 256)
    assert config["channel_multipliers"] == [1, 1, 2, 2, 4]
    assert (config["num_res_blocks"], config["attention_resolutions"]) == (2, [16])
    quantizer = keras.saving.deserialize_keras_object(config["quantizer"])
    assert (quantizer.codebook_size, quantizer.embedding_dim) == (1024, 256)


def change_config(preset, change):
    path = preset / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def test_a_config_that_names_code_is_refused_before_anything_is_built(preset, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("deserialized")

    monkeypatch.setattr(keras.saving, "deserialize_keras_object", fail)
    hostile = [
        {"module": "keras.layers", "class_name": "Lambda", "config": {}, "registered_name": None},
        {"module": "os", "class_name": "system", "config": "id", "registered_name": None},
        {"module": "builtins", "class_name": "function", "config": "eval"},
        {"module": "keras", "class_name": "X", "config": {}, "registered_name": "other>X"},
    ]
    for initializer in hostile:
        change_config(
            preset,
            lambda config, initializer=initializer: config["config"]["quantizer"]["config"].update(
                codebook_initializer=initializer
            ),
        )
        with pytest.raises(ValueError, match="preset.*only classes that are safe"):
            keras_regvq.from_preset(preset)


@pytest.mark.one_backend
def test_each_way_a_preset_can_be_damaged_is_named(preset, tokenizer, tmp_path):
    weights = preset / "model.weights.h5"
    whole = weights.read_bytes()

    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="weights cannot be read"):
        keras_regvq.from_preset(preset)

    weights.unlink()
    with pytest.raises(ValueError, match="has no weights.*load_weights=False"):
        keras_regvq.from_preset(preset)
    assert keras_regvq.from_preset(preset, load_weights=False).codebook_size == 32

    other = ImageTokenizer(16, VectorQuantizer(16, 16), 8, (1, 2), 1, (), 8)
    other.save_weights(str(weights))
    with pytest.raises(ValueError, match="weights cannot be read"):
        keras_regvq.from_preset(preset)

    (preset / "config.json").write_text("{not json")
    with pytest.raises(ValueError, match="config.json"):
        keras_regvq.from_preset(preset)

    (preset / "config.json").unlink()
    with pytest.raises(ValueError, match="config.json"):
        keras_regvq.from_preset(preset)


@pytest.mark.one_backend
def test_wrong_presets_and_overrides_are_named(preset, tmp_path):
    with pytest.raises(ValueError, match="`preset`.*'no_such'.*regvq_f16_1024"):
        keras_regvq.from_preset("no_such")
    with pytest.raises(ValueError, match="`preset`"):
        keras_regvq.from_preset(tmp_path / "missing")
    with pytest.raises(ValueError, match="no_such_argument"):
        keras_regvq.from_preset(preset, no_such_argument=1)
    with pytest.raises(ValueError, match="`base_channels`"):
        keras_regvq.from_preset(preset, base_channels=0)
    change_config(preset, lambda config: config["config"].update(bogus=1))
    with pytest.raises(ValueError, match="bogus"):
        keras_regvq.from_preset(preset)
    change_config(preset, lambda config: config.update(registered_name="keras_regvq>GroupNorm"))
    with pytest.raises(ValueError, match="preset of ImageTokenizer"):
        ImageTokenizer.from_preset(preset)


@pytest.mark.one_backend
def test_half_precision_weights_take_half_the_space_and_nearly_keep_the_images(
    tokenizer, preset, images, tmp_path
):
    tokenizer.save_to_preset(tmp_path / "half", weights_dtype="float16")
    sizes = [(path / "model.weights.h5").stat().st_size for path in (preset, tmp_path / "half")]
    assert sizes[0] - sizes[1] > 1.5 * tokenizer.count_params(), "two bytes a weight"
    loaded = keras_regvq.from_preset(tmp_path / "half")
    assert {v.dtype for v in loaded.trainable_variables} == {"float32"}
    for ours, theirs in zip(tokenizer.trainable_variables, loaded.trainable_variables, strict=True):
        rounded = keras.ops.convert_to_numpy(ours).astype("float16").astype("float32")
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(theirs), rounded)
    tokens = tokenizer.encode(images)
    np.testing.assert_allclose(loaded.decode(tokens), tokenizer.decode(tokens), atol=5e-3)
    with pytest.raises(ValueError, match="weights_dtype"):
        tokenizer.save_to_preset(tmp_path / "eighth", weights_dtype="int4")

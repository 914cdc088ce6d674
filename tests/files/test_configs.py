"""Configs from disk name only classes that are known to be harmless, in one way each."""

import json

import keras
import pytest

from keras_regvq.files.configs import is_users_own, read_config, safe_config
from keras_regvq.quantizers import Quantizer, VectorQuantizer


@keras.saving.register_keras_serializable(package="tests_of_configs")
class OwnInitializer(keras.initializers.Zeros):
    pass


@keras.saving.register_keras_serializable(package="tests_of_configs")
def own_function(shape, dtype=None):
    return keras.ops.zeros(shape)


def allowed(cls):
    return issubclass(cls, Quantizer) or is_users_own(cls)


def named(module, class_name, registered_name=None, **more):
    return {
        "module": module, "class_name": class_name, "registered_name": registered_name,
        "config": {}, **more,
    }  # fmt: skip


def test_what_keras_writes_comes_back_as_the_same_objects():
    quantizer = VectorQuantizer(8, 4, codebook_initializer=OwnInitializer())
    config = keras.saving.serialize_keras_object(quantizer)
    copy = keras.saving.deserialize_keras_object(safe_config(config, allowed))
    assert copy.get_config() == quantizer.get_config()
    assert type(copy.codebook_initializer) is OwnInitializer
    policies = [keras.DTypePolicy("mixed_bfloat16"), keras.dtype_policies.DTypePolicyMap()]
    for part in (keras.initializers.RandomNormal(0.5), keras.initializers.Constant(2), *policies):
        config = keras.saving.serialize_keras_object(part)
        copy = keras.saving.deserialize_keras_object(safe_config(config, allowed))
        assert type(copy) is type(part) and copy.get_config() == part.get_config()


HOSTILE = {
    "a dotted name": named("keras", "layers.TorchModuleWrapper"),
    "a dotted name of a lambda": named("keras", "layers.Lambda"),
    "a layer": named("keras.layers", "Lambda"),
    "an inner module": named("keras.src.layers.core.lambda_layer", "Lambda"),
    "an invented name of ours": named("keras.layers", "Lambda", "keras_regvq>X"),
    "another of our classes": named(None, "VGG19Features", "keras_regvq>VGG19Features"),
    "a class of KerasHub": named(None, "BertBackbone", "keras_hub>BertBackbone"),
    "a class name of ours alone": {"class_name": "keras_regvq>VectorQuantizer", "config": {}},
    "a function": {"module": "builtins", "class_name": "function", "config": "eval"},
    "a registered function": named(None, "function", "tests_of_configs>own_function"),
    "a function of keras": named("keras.initializers", "get"),
    "a lambda": {"class_name": "__lambda__", "config": {"value": "x"}},
    "a lambda under the name of a class": {
        **named("keras_regvq", "__lambda__", "keras_regvq>VectorQuantizer"),
        "config": {"value": "x"},
    },
    "an array": {"class_name": "__numpy__", "config": {"value": [0], "dtype": "float32"}},
    "a tensor": {"class_name": "__tensor__", "config": {"value": [0], "dtype": "float32"}},
    "a type": {"class_name": "__typespec__", "spec_name": "x", "module": "os", "config": []},
    "a program": named("os", "system"),
    "names that are no strings": named(["keras"], {"a": 1}, 5),
    "no config": {"module": "keras.initializers", "class_name": "Zeros", "registered_name": None},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_all_other_names_are_refused(kind):
    before = keras.config.is_flash_attention_enabled  # any attribute: importing is all it needs
    for config in (HOSTILE[kind], {"a": [{"b": HOSTILE[kind]}]}):
        with pytest.raises(ValueError, match="names|has"):
            safe_config(config, allowed)
    assert keras.config.is_flash_attention_enabled is before


def test_a_string_that_keras_would_look_up_is_refused():
    config = {"codebook_initializer": "tests_of_configs>own_function"}
    with pytest.raises(ValueError, match="own_function"):
        safe_config(config, allowed)


def test_what_keras_builds_and_compiles_with_is_left_out():
    config = keras.saving.serialize_keras_object(VectorQuantizer(8, 4))
    hostile = named("keras.layers", "Lambda")
    config |= {"build_config": hostile, "compile_config": hostile, "shared_object_id": 3}
    assert set(safe_config(config, allowed)) == {
        "module", "class_name", "registered_name", "config",
    }  # fmt: skip


def test_classes_that_the_user_gives_are_allowed():
    class Mine(VectorQuantizer):
        pass

    config = keras.saving.serialize_keras_object(Mine(8, 4))
    with pytest.raises(ValueError, match="custom_objects"):
        safe_config(config, allowed)
    objects = {"Mine": Mine}
    safe = safe_config(config, allowed, objects)
    assert type(keras.saving.deserialize_keras_object(safe, objects)) is Mine


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[]", b"5", b"null", b"\xff\xfe{}", b'{"a": NaN}', b'{"a": [Infinity]}',
        b'{"a": 1e999}', b'{"a": 1000000000000}', b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a":' * 70 + b"1" + b"}" * 70, b"[" * 100_000 + b"]" * 100_000,
        b'{"seed": ' + b"9" * 30 + b"}",
    ],
)  # fmt: skip
def test_json_that_is_no_config_is_a_value_error_that_names_the_file(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match="`preset`.*config.json"):
        read_config(path)


def test_seeds_may_be_large(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"config": {"seed": 2**40, "words": ["ü"]}}), encoding="utf-8")
    assert read_config(path) == {"config": {"seed": 2**40, "words": ["ü"]}}

"""Every argument of a constructor is an attribute of that name, and survives a round trip."""

import inspect
import json

import keras
import pytest

from keras_regvq import models, quantizers

REGVQ = {
    "codebook_size": 8, "embedding_dim": 4, "mask_ratio": 0.3, "temperature": 0.5,
    "prior_weight": 0.2, "prior_scope": "image", "prior_estimator": "hard",
    "codebook_initializer": keras.initializers.RandomNormal(0.0, 0.5, seed=1), "seed": 3,
    "block_size": 16, "logits": "cosine", "scale": 3.0, "dither": 0.25,
}  # fmt: skip
CASES = {
    quantizers.RegularizedQuantizer: REGVQ,
    quantizers.GumbelQuantizer: {
        "kl_weight": 0.1, **{k: v for k, v in REGVQ.items() if k[:4] not in ("mask", "prio")},
    },
    quantizers.VectorQuantizer: {
        "codebook_size": 8, "embedding_dim": 4, "commitment_weight": 0.5, "normalize": True,
        "codebook_initializer": keras.initializers.RandomNormal(0.0, 0.5, seed=1), "block_size": 16,
        "rotation_trick": True, "ema": 0.9, "codebook_start": "kmeans", "dead_code_threshold": 0.5,
        "projection_dim": 2, "seed": 3,
    },
    quantizers.SimVQQuantizer: {
        "codebook_size": 8, "embedding_dim": 4,
        "codebook_initializer": keras.initializers.RandomNormal(0.0, 0.5, seed=1),
    },
    quantizers.IndexBackpropagationQuantizer: {
        "codebook_size": 8, "embedding_dim": 4, "commitment_weight": 0.5, "entropy_weight": 0.1,
        "diversity": 2.0, "temperature": 0.1, "block_size": 16,
        "codebook_initializer": keras.initializers.RandomNormal(0.0, 0.5, seed=1),
    },
    quantizers.LookupFreeQuantizer: {
        "bits": 3, "spherical": True, "entropy_weight": 0.2, "diversity": 2.0,
        "commitment_weight": 0.5, "temperature": 0.1,
    },
    quantizers.FiniteScalarQuantizer: {"levels": (4, 3)},
    quantizers.ResidualQuantizer: {
        "quantizers": quantizers.VectorQuantizer(8, 4), "num_stages": 3, "shared_codebook": False,
        "scale": 0.5,
    },
    models.ImageTokenizer: {
        "image_size": (16, 24), "base_channels": 8, "channel_multipliers": (1, 2),
        "num_res_blocks": 1, "attention_resolutions": (8,), "latent_channels": 6, "dropout": 0.1,
        "middle_attention": False, "norm_groups": 4, "image_channels": 1,
        "patch_size": 2, "unit_range": True, "gradient_checkpointing": True,
    },
    models.LabelMapTokenizer: {
        "num_classes": 3, "image_size": (16, 24), "base_channels": 8, "channel_multipliers": (1, 2),
        "num_res_blocks": 2, "latent_channels": 6, "attention_resolutions": (8,),
    },
    models.PatchDiscriminator: {"base_channels": 4, "num_layers": 2, "image_channels": 1},
}  # fmt: skip


@pytest.mark.parametrize("part", CASES)
def test_arguments_are_attributes_and_configurations_round_trip(part):
    given = dict(CASES[part])
    names = set(inspect.signature(part).parameters) - {"kwargs", "name", "trainable", "dtype"}
    if "quantizer" in names:
        given["quantizer"] = quantizers.VectorQuantizer(8, 4)
    assert set(given) == names, "the test forgets an argument"
    made = part(**given)
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(made)))
    copy = keras.saving.deserialize_keras_object(serialized)
    assert json.loads(json.dumps(copy.get_config())) == serialized["config"]
    for name, value in given.items():
        assert getattr(made, name) == value, name
        if name not in ("quantizer", "quantizers", "codebook_initializer"):
            assert getattr(copy, name) == value, name


def test_the_temperature_becomes_a_variable_of_the_built_quantizer():
    quantizer = quantizers.RegularizedQuantizer(8, 4, temperature=0.5)
    quantizer.build((None, None, None, 4))
    assert isinstance(quantizer.temperature, keras.Variable)
    assert float(keras.ops.convert_to_numpy(quantizer.temperature)) == 0.5
    assert [v.name for v in quantizer.weights if v.name == "temperature"] == ["temperature"]

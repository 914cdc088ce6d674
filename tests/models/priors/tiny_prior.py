"""Priors small enough to sample in seconds on JAX: a 4 x 6 grid, 11 codes, two blocks."""

import keras
import numpy as np

from keras_regvq import models, quantizers

CODES, CLASSES = 11, 5
GRID, IMAGE = (4, 6), (16, 24)


def randomize(model, seed=0):
    """Give every weight a value that matters: zeros and small ones would hide mistakes."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        # Large biases would drown what depends on the inputs.
        scale = 0.1 if variable.name in ("beta", "bias", "gamma") else 0.5
        variable.assign(rng.normal(size=variable.shape) * scale + (variable.name == "gamma"))
    return model


def make_prior(condition=None, **options):
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "seed": 0}
    return randomize(
        models.AutoregressivePrior(CODES, GRID, condition=condition, **sizes | options)
    )


def make_map_prior(**options):
    return make_prior(models.LabelMapCondition(CLASSES, IMAGE, prefix_grid=(2, 3)), **options)


def make_label_tokenizer():
    sizes = {"base_channels": 8, "latent_channels": 8}
    quantizer = quantizers.VectorQuantizer(9, 8)
    return models.LabelMapTokenizer(CLASSES, IMAGE, quantizer, **sizes)


def make_image_tokenizer(codes=CODES, image_size=IMAGE):
    return models.ImageTokenizer(
        image_size,
        quantizers.VectorQuantizer(codes, 8),
        base_channels=8,
        channel_multipliers=(1, 2, 2),
        num_res_blocks=1,
        attention_resolutions=(),
        latent_channels=8,
    )


def random_tokens(count=3, seed=1):
    return np.random.default_rng(seed).integers(0, CODES, (count, *GRID))


def random_maps(count=3, seed=2):
    return np.random.default_rng(seed).integers(0, CLASSES, (count, *IMAGE))


def random_images(count=3, seed=3):
    return np.random.default_rng(seed).random((count, *IMAGE, 3), dtype="float32")


def logits_of(prior, tokens, condition=None):
    inputs = {"tokens": keras.ops.convert_to_tensor(tokens, "int32")}
    if condition is not None:
        inputs["condition"] = keras.ops.convert_to_tensor(condition, "int32")
    return keras.ops.convert_to_numpy(prior(inputs))

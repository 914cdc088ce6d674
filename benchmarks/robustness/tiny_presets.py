"""Small presets of each kind, for the scripts that damage them."""

import keras
import numpy as np

from keras_regvq import models, quantizers

IMAGE = 16


def tokenizer(base_channels=8, levels=2, seed=0):
    """Random, with attention at the lower level."""
    keras.utils.set_random_seed(seed)
    return models.ImageTokenizer(
        IMAGE,
        quantizers.RegularizedQuantizer(16, 8, seed=seed),
        base_channels=base_channels,
        channel_multipliers=(1, 2, 2)[:levels],
        num_res_blocks=1,
        attention_resolutions=(8,),
        latent_channels=8,
    )


def painters():
    """One end-to-end model of each kind."""
    encoder = models.VocabularyEncoder(["a", "red", "boat"], 4)
    label_map = models.LabelMapTokenizer(3, IMAGE, quantizers.VectorQuantizer(5, 4), 8, (1, 2))
    small = {"channels": 8, "channel_multipliers": (1, 2), "num_res_blocks": 1, "num_heads": 2}
    transformer = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8}
    grid = tokenizer().token_grid

    def text(process, **options):
        prior = models.DiffusionPrior(
            16, grid, process, condition=encoder.condition(num_heads=2), **small, **options
        )
        return models.TextToImage(tokenizer(), prior, encoder)

    def semantic(condition):
        prior = models.AutoregressivePrior(16, grid, condition=condition, **transformer)
        return models.SemanticToImage(tokenizer(), prior)

    return {
        "text_discrete": text("discrete", num_timesteps=8),
        "text_gaussian": text("gaussian", embedding_dim=8),
        "semantic": semantic(models.LabelMapCondition(3, IMAGE)),
        "semantic_tokens": semantic(models.TokenizedMapCondition(label_map)),
        "label_maps": label_map,
        "classes": models.AutoregressivePrior(
            16, grid, condition=models.ClassCondition(4), **transformer
        ),
    }


def images(count=4):
    return np.random.default_rng(0).integers(0, 256, (count, IMAGE, IMAGE, 3), dtype="uint8")

"""Every class of the package comes back from its config, and shows what it was made with."""

import copy
import importlib
import inspect
import pkgutil

import keras
import pytest

import keras_regvq
from keras_regvq import metrics, models, quantizers
from keras_regvq.models.layers import blocks
from keras_regvq.models.layers.grid_positions import GridPositions
from keras_regvq.models.layers.group_norm import GroupNorm
from keras_regvq.models.layers.pixel_shuffle import PixelShuffle
from keras_regvq.models.priors.autoregressive.decoder_block import DecoderBlock
from keras_regvq.models.priors.diffusion.discrete import DiscreteProcess
from keras_regvq.models.priors.diffusion.gaussian import GaussianProcess
from keras_regvq.models.priors.diffusion.time_embedding import TimeEmbedding
from keras_regvq.models.priors.diffusion.unet import UNet
from keras_regvq.models.priors.diffusion.unet_block import UNetBlock
from keras_regvq.quantizers.upkeep import CodebookUpkeep
from keras_regvq.training import Muon
from keras_regvq.training.adversarial.two_player_optimizer import TwoPlayerOptimizer
from tests.models.priors.tiny_diffusion import make_diffusion_prior
from tests.models.priors.tiny_prior import (
    CLASSES,
    CODES,
    IMAGE,
    make_image_tokenizer,
    make_label_tokenizer,
    make_map_prior,
)
from tests.training.conftest import make_features, make_trainer


def make_text_to_image():
    encoder = models.VocabularyEncoder(["a", "red", "boat"], 5)
    prior = make_diffusion_prior(condition=encoder.condition())
    return models.TextToImage(make_image_tokenizer(), prior, encoder)


# No argument is at its default where another value can be given.
MADE = {
    "AttentionBlock": lambda: blocks.AttentionBlock(4, name="a", dtype="mixed_bfloat16"),
    "AutoregressivePrior": lambda: make_map_prior(
        dropout=0.1,
        keep_probability=0.9,
        condition_dropout=0.2,
        position_embedding="full",
        activation="gelu",
    ),
    "ClassCondition": lambda: models.ClassCondition(CLASSES),
    "CodebookPerplexity": lambda: metrics.CodebookPerplexity(CODES, "p", num_codebooks=2),
    "CodebookUsage": lambda: metrics.CodebookUsage(CODES, "u", num_codebooks=2),
    "DecoderBlock": lambda: DecoderBlock(8, 2, 0.1, "gelu", name="b"),
    "DiffusionPrior": lambda: make_diffusion_prior(
        condition=models.ClassCondition(CLASSES), dropout=0.1, replace_share=0.2
    ),
    "CodebookUpkeep": lambda: CodebookUpkeep(0.9, "kmeans", 0.5, True, 64, 3, "u"),
    "DiscreteProcess": lambda: DiscreteProcess(12, 0.2, 0.3, name="p"),
    "EfficientNetLite0Features": lambda: models.EfficientNetLite0Features(
        layer_names=("block_0",), seed=1
    ),
    "FIDInception": lambda: models.FIDInception(output="logits_unbiased", name="f"),
    "FeatureExtractor": make_features,
    "FiniteScalarQuantizer": lambda: quantizers.FiniteScalarQuantizer((4, 3), name="q"),
    "FrechetDistance": lambda: metrics.FrechetDistance(name="f"),
    "GaussianProcess": lambda: GaussianProcess(6, name="p"),
    "GridPositions": lambda: GridPositions((2, 3), 8, False, name="g"),
    "GroupNorm": lambda: GroupNorm(4, 1e-5, name="g"),
    "GumbelQuantizer": lambda: quantizers.GumbelQuantizer(12, 6, 2.0, 1e-3, seed=3, block_size=64),
    "ImageTokenizer": make_image_tokenizer,
    "InceptionScore": lambda: metrics.InceptionScore(name="i"),
    "KernelDistance": lambda: metrics.KernelDistance(name="k"),
    "LPIPSFeatures": lambda: models.LPIPSFeatures(seed=1, name="l"),
    "LabelMapCondition": lambda: models.LabelMapCondition(CLASSES, IMAGE, (2, 3)),
    "LabelMapTokenizer": make_label_tokenizer,
    "ManifoldPrecision": lambda: metrics.ManifoldPrecision(neighbours=2, name="m"),
    "ManifoldRecall": lambda: metrics.ManifoldRecall(neighbours=2, name="m"),
    "PSNR": lambda: metrics.PSNR(255.0, "p"),
    "PatchDiscriminator": lambda: models.PatchDiscriminator(4, 1, image_channels=1),
    "PerceptualDistance": lambda: metrics.PerceptualDistance(name="p"),
    "PretrainedTextEncoder": lambda: models.PretrainedTextEncoder("bert_tiny_en_uncased", 8, 9),
    "IndexBackpropagationQuantizer": lambda: quantizers.IndexBackpropagationQuantizer(
        12, 6, 0.5, 0.1, 2.0, 0.02, block_size=64
    ),
    "LookupFreeQuantizer": lambda: quantizers.LookupFreeQuantizer(6, True, 0.2, 2.0, 0.5, 0.02),
    "SimVQQuantizer": lambda: quantizers.SimVQQuantizer(12, 6, normalize=True),
    "ResidualQuantizer": lambda: quantizers.ResidualQuantizer(
        [quantizers.VectorQuantizer(12, 6), quantizers.SimVQQuantizer(12, 6)], scale=0.7, name="r"
    ),
    "RegularizedQuantizer": lambda: quantizers.RegularizedQuantizer(
        12, 6, 0.3, 2.0, 0.1, "image", "hard", seed=3, block_size=64
    ),
    "ResidualBlock": lambda: blocks.ResidualBlock(8, 0.1, 4, name="r"),
    "SSIM": lambda: metrics.SSIM(255.0, "s"),
    "SemanticToImage": lambda: models.SemanticToImage(make_image_tokenizer(), make_map_prior()),
    "TextFeatureCondition": lambda: models.TextFeatureCondition(5, 12),
    "TextToImage": make_text_to_image,
    "TimeEmbedding": lambda: TimeEmbedding(6, 8, name="t"),
    "TokenCondition": lambda: models.TokenCondition(9, make_label_tokenizer()),
    "TokenizedMapCondition": lambda: models.TokenizedMapCondition(make_label_tokenizer()),
    "TokenizerTrainer": lambda: make_trainer(l1_weight=3.0, contrastive="plain"),
    "Muon": lambda: Muon(0.01, 0.3, 0.02, 0.03, ["head"], name="m"),
    "PixelShuffle": lambda: PixelShuffle(2, name="p"),
    "TwoPlayerOptimizer": lambda: TwoPlayerOptimizer(
        keras.optimizers.Adam(1e-3), keras.optimizers.SGD(1e-2)
    ),
    "UNet": lambda: UNet(8, (1, 2, 2), 1, (0, 2), 2, 0.1, name="u"),
    "UNetBlock": lambda: UNetBlock(8, 2, 0.1, name="b"),
    "Upsample": lambda: blocks.Upsample(8, "zeros", name="u"),
    "VGG19Features": lambda: models.VGG19Features(None, ("block1_conv1",), None, "caffe", 1, "v"),
    "VectorQuantizer": lambda: quantizers.VectorQuantizer(
        12, 6, 0.5, True, None, 64, True, 0.9, "sampled", 0.5, 3, seed=3
    ),
    "VocabularyEncoder": lambda: models.VocabularyEncoder(["a", "boat"], 5),
    "WordCondition": lambda: models.WordCondition(9, 5, 1, 2),
}
# Bases without a whole implementation.
ABSTRACT = {
    "CodeCounts",
    "CodebookQuantizer",
    "Condition",
    "ImageFeatures",
    "ImageGenerator",
    "PresetBackbone",
    "PresetModel",
    "Process",
    "Quantizer",
    "SamplingQuantizer",
    "TokenPrior",
    "TwoPlayerModel",
}
_METRICS = ("FrechetDistance", "KernelDistance", "ManifoldPrecision", "ManifoldRecall")
# Where weights are read from is no part of a model, nor is what another object owns, and the
# features of a metric are a function.
NOT_IN_CONFIG = {
    "EfficientNetLite0Features": {"weights"},
    "FIDInception": {"weights"},
    "InceptionScore": {"classifier"},
    "LPIPSFeatures": {"weights", "heads"},
    "PerceptualDistance": {"feature_extractor"},
    "TwoPlayerOptimizer": {"discriminator_variables"},
    "VGG19Features": {"weights"},
    **{name: {"feature_extractor"} for name in _METRICS},
}
# Besides, what goes by another name: a Keras model's own `output`, a network cut to its layers, and
# a temperature that changes while a model trains.
NOT_AN_ATTRIBUTE = {
    "FIDInception": {"output"},
    "FeatureExtractor": {"model"},
    "GumbelQuantizer": {"temperature"},
    "RegularizedQuantizer": {"temperature"},
    "VGG19Features": {"backbone"},
}


def package_classes():
    """{name: class} of what is registered, and of all public layers, models and metrics."""
    for module in pkgutil.walk_packages(keras_regvq.__path__, "keras_regvq."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = {
        cls.__name__: cls
        for name, cls in keras.saving.get_custom_objects().items()
        if name.startswith("keras_regvq>")
    }
    waiting = [keras.layers.Layer, keras.metrics.Metric]
    while waiting:
        for cls in waiting.pop().__subclasses__():
            waiting.append(cls)
            if cls.__module__.startswith("keras_regvq.") and not cls.__name__.startswith("_"):
                found[cls.__name__] = cls
    return found


CLASSES_FOUND = package_classes()


def test_every_class_is_made_here_or_is_known_to_be_a_base():
    assert set(CLASSES_FOUND) == {*MADE, *ABSTRACT}


def plain(config):
    """A config as JSON has it, without what depends on whether its layers have been built."""
    if isinstance(config, dict):
        return {
            k: plain(v) for k, v in config.items() if k not in ("build_config", "shared_object_id")
        }
    return [plain(value) for value in config] if isinstance(config, (list, tuple)) else config


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_class_comes_back_from_its_config_and_shows_its_arguments(name):
    cls, made = CLASSES_FOUND[name], MADE[name]()
    assert type(made) is cls
    config = made.get_config()
    again = cls.from_config(copy.deepcopy(config))
    assert plain(again.get_config()) == plain(config)
    kinds = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL
    arguments = {n for n, p in inspect.signature(cls).parameters.items() if p.kind not in kinds}
    lost = {argument for argument in arguments if not hasattr(made, argument)}
    assert lost <= NOT_AN_ATTRIBUTE.get(name, set()) | NOT_IN_CONFIG.get(name, set())
    assert arguments - set(config) == NOT_IN_CONFIG.get(name, set())

"""Models: the tokenizers, the networks of their loss, the token prior and what paints with it."""

from keras_regvq.models.autoregressive_prior import AutoregressivePrior
from keras_regvq.models.conditions import (
    ClassCondition,
    Condition,
    LabelMapCondition,
    TokenizedMapCondition,
)
from keras_regvq.models.image_tokenizer import ImageTokenizer
from keras_regvq.models.label_map_tokenizer import LabelMapTokenizer
from keras_regvq.models.patch_discriminator import PatchDiscriminator
from keras_regvq.models.semantic_to_image import SemanticToImage
from keras_regvq.models.vgg19_features import FeatureExtractor, VGG19Features

__all__ = [
    "AutoregressivePrior",
    "ClassCondition",
    "Condition",
    "FeatureExtractor",
    "ImageTokenizer",
    "LabelMapCondition",
    "LabelMapTokenizer",
    "PatchDiscriminator",
    "SemanticToImage",
    "TokenizedMapCondition",
    "VGG19Features",
]

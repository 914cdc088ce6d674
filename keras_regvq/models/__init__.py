"""Models: tokenizers, the networks of their loss, token priors and what paints with them."""

from keras_regvq.models.autoregressive_prior import AutoregressivePrior
from keras_regvq.models.conditions import (
    ClassCondition,
    Condition,
    LabelMapCondition,
    TokenizedMapCondition,
)
from keras_regvq.models.diffusion_prior import DiffusionPrior
from keras_regvq.models.efficientnet_lite0 import EfficientNetLite0Features
from keras_regvq.models.fid_inception import FIDInception
from keras_regvq.models.image_tokenizer import ImageTokenizer
from keras_regvq.models.label_map_tokenizer import LabelMapTokenizer
from keras_regvq.models.lpips_features import LPIPSFeatures
from keras_regvq.models.patch_discriminator import PatchDiscriminator
from keras_regvq.models.pretrained_text_encoder import PretrainedTextEncoder
from keras_regvq.models.semantic_to_image import SemanticToImage
from keras_regvq.models.text_conditions import TextFeatureCondition, WordCondition
from keras_regvq.models.text_encoders import TextEncoder, VocabularyEncoder
from keras_regvq.models.text_to_image import TextToImage
from keras_regvq.models.token_condition import TokenCondition
from keras_regvq.models.vgg19_features import FeatureExtractor, VGG19Features

__all__ = [
    "AutoregressivePrior",
    "ClassCondition",
    "Condition",
    "DiffusionPrior",
    "EfficientNetLite0Features",
    "FIDInception",
    "FeatureExtractor",
    "ImageTokenizer",
    "LPIPSFeatures",
    "LabelMapCondition",
    "LabelMapTokenizer",
    "PatchDiscriminator",
    "PretrainedTextEncoder",
    "SemanticToImage",
    "TextEncoder",
    "TextFeatureCondition",
    "TextToImage",
    "TokenCondition",
    "TokenizedMapCondition",
    "VGG19Features",
    "VocabularyEncoder",
    "WordCondition",
]

"""Models: tokenizers, the networks of their loss, token priors and generators of images."""

import keras_regvq.models.card_kinds  # noqa: F401  registers what their cards say
from keras_regvq.models.conditions.caption_features import TextFeatureCondition
from keras_regvq.models.conditions.caption_words import WordCondition
from keras_regvq.models.conditions.class_label import ClassCondition
from keras_regvq.models.conditions.condition import Condition
from keras_regvq.models.conditions.label_map import LabelMapCondition
from keras_regvq.models.conditions.label_map_tokens import TokenizedMapCondition
from keras_regvq.models.conditions.tokens import TokenCondition
from keras_regvq.models.features.efficientnet_lite0 import EfficientNetLite0Features
from keras_regvq.models.features.feature_extractor import FeatureExtractor
from keras_regvq.models.features.fid_inception import FIDInception
from keras_regvq.models.features.lpips import LPIPSFeatures
from keras_regvq.models.features.vgg import VGG19Features
from keras_regvq.models.generators.semantic_to_image import SemanticToImage
from keras_regvq.models.generators.text_to_image import TextToImage
from keras_regvq.models.priors.autoregressive.prior import AutoregressivePrior
from keras_regvq.models.priors.diffusion.ancestral import AncestralSampler
from keras_regvq.models.priors.diffusion.confidence import ConfidenceSampler
from keras_regvq.models.priors.diffusion.ddim import DDIMSampler
from keras_regvq.models.priors.diffusion.discrete import DiscreteProcess
from keras_regvq.models.priors.diffusion.dpm_solver import DPMSolverSampler
from keras_regvq.models.priors.diffusion.gaussian import GaussianProcess
from keras_regvq.models.priors.diffusion.prior import DiffusionPrior
from keras_regvq.models.priors.diffusion.process import Process
from keras_regvq.models.priors.diffusion.sampler import Sampler
from keras_regvq.models.priors.token_prior import TokenPrior
from keras_regvq.models.text_encoders.pretrained import PretrainedTextEncoder
from keras_regvq.models.text_encoders.text_encoder import TextEncoder
from keras_regvq.models.text_encoders.vocabulary import VocabularyEncoder
from keras_regvq.models.tokenizers.image_tokenizer import ImageTokenizer
from keras_regvq.models.tokenizers.label_map_tokenizer import LabelMapTokenizer
from keras_regvq.models.tokenizers.patch_discriminator import PatchDiscriminator

__all__ = [
    "AncestralSampler",
    "AutoregressivePrior",
    "ClassCondition",
    "Condition",
    "ConfidenceSampler",
    "DDIMSampler",
    "DPMSolverSampler",
    "DiffusionPrior",
    "DiscreteProcess",
    "EfficientNetLite0Features",
    "FIDInception",
    "FeatureExtractor",
    "GaussianProcess",
    "ImageTokenizer",
    "LPIPSFeatures",
    "LabelMapCondition",
    "LabelMapTokenizer",
    "PatchDiscriminator",
    "PretrainedTextEncoder",
    "Process",
    "Sampler",
    "SemanticToImage",
    "TextEncoder",
    "TextFeatureCondition",
    "TextToImage",
    "TokenCondition",
    "TokenPrior",
    "TokenizedMapCondition",
    "VGG19Features",
    "VocabularyEncoder",
    "WordCondition",
]

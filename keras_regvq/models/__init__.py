"""Models: the tokenizer and the networks of its loss."""

from keras_regvq.models.image_tokenizer import ImageTokenizer
from keras_regvq.models.patch_discriminator import PatchDiscriminator
from keras_regvq.models.vgg19_features import FeatureExtractor, VGG19Features

__all__ = ["FeatureExtractor", "ImageTokenizer", "PatchDiscriminator", "VGG19Features"]

"""Metrics of reconstructions and of codebooks, for `compile`, training steps and standalone use.

Those of two sets of images, `FrechetDistance`, `KernelDistance`, `ManifoldPrecision`,
`ManifoldRecall` and `InceptionScore`, are for standalone use.
"""

from keras_regvq.metrics.codebook import CodebookPerplexity, CodebookUsage
from keras_regvq.metrics.frechet_distance import FrechetDistance
from keras_regvq.metrics.inception_score import InceptionScore
from keras_regvq.metrics.kernel_distance import KernelDistance
from keras_regvq.metrics.manifold_overlap import ManifoldPrecision, ManifoldRecall
from keras_regvq.metrics.perceptual_distance import PerceptualDistance
from keras_regvq.metrics.psnr import PSNR
from keras_regvq.metrics.ssim import SSIM

__all__ = [
    "PSNR",
    "SSIM",
    "CodebookPerplexity",
    "CodebookUsage",
    "FrechetDistance",
    "InceptionScore",
    "KernelDistance",
    "ManifoldPrecision",
    "ManifoldRecall",
    "PerceptualDistance",
]

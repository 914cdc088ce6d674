"""Metrics of reconstructions and of codebooks, for `compile`, training steps and standalone use.

`KernelDistance`, of two sets of images, is for standalone use.
"""

from keras_regvq.metrics.codebook import CodebookPerplexity, CodebookUsage
from keras_regvq.metrics.kernel_distance import KernelDistance
from keras_regvq.metrics.psnr import PSNR
from keras_regvq.metrics.ssim import SSIM

__all__ = ["PSNR", "SSIM", "CodebookPerplexity", "CodebookUsage", "KernelDistance"]

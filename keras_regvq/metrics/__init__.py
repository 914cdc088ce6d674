"""Metrics of reconstructions and of codebooks, for `compile`, training steps and standalone use."""

from keras_regvq.metrics.codebook import CodebookPerplexity, CodebookUsage
from keras_regvq.metrics.psnr import PSNR
from keras_regvq.metrics.ssim import SSIM

__all__ = ["PSNR", "SSIM", "CodebookPerplexity", "CodebookUsage"]

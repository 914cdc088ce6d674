"""Quantizers: features (B, h, w, C) in, codes and tokens out."""

from keras_regvq.quantizers.codebook import CodebookQuantizer
from keras_regvq.quantizers.finite_scalar import FiniteScalarQuantizer
from keras_regvq.quantizers.gumbel import GumbelQuantizer
from keras_regvq.quantizers.index_backpropagation import IndexBackpropagationQuantizer
from keras_regvq.quantizers.lookup_free import LookupFreeQuantizer
from keras_regvq.quantizers.quantizer import Quantizer
from keras_regvq.quantizers.regularized import RegularizedQuantizer
from keras_regvq.quantizers.residual import ResidualQuantizer
from keras_regvq.quantizers.sampling import SamplingQuantizer
from keras_regvq.quantizers.simvq import SimVQQuantizer
from keras_regvq.quantizers.vector import VectorQuantizer

__all__ = [
    "CodebookQuantizer",
    "FiniteScalarQuantizer",
    "GumbelQuantizer",
    "IndexBackpropagationQuantizer",
    "LookupFreeQuantizer",
    "Quantizer",
    "RegularizedQuantizer",
    "ResidualQuantizer",
    "SamplingQuantizer",
    "SimVQQuantizer",
    "VectorQuantizer",
]

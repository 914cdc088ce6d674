"""What tokens depend on, as a short text: tokens of two tokenizers are never taken for the same."""

import hashlib

import numpy as np
from keras import ops

from keras_regvq.quantizers import IndexBackpropagationQuantizer


def tokens_fingerprint(tokenizer):
    """SHA-256, in hexadecimal, of an `ImageTokenizer`'s encoder and quantizer."""
    digest = hashlib.sha256()
    for part in (tokenizer.encoder, tokenizer.quantizer):
        for variable in part.trainable_variables + part.non_trainable_variables:
            if "float" in variable.dtype:
                array = ops.convert_to_numpy(variable.value)
                array = array.astype("float32") if variable.dtype == "bfloat16" else array
                digest.update(np.ascontiguousarray(array))
    if tokenizer.tokens_per_position > 1:  # stages that share a codebook have the weights of one
        settings = (tokenizer.tokens_per_position, tokenizer.quantizer.scale)
        digest.update(np.float64(settings).tobytes())
    if not tokenizer.quantizer.weights:  # its codes depend on its settings alone
        digest.update(ops.convert_to_numpy(tokenizer.quantizer.codes()))
    if getattr(tokenizer, "unit_range", False):
        digest.update(b"unit_range")
    if getattr(tokenizer.quantizer, "dither", 0):  # so do its tokens, then
        digest.update(np.float64(tokenizer.quantizer.dither).tobytes())
    for stage in getattr(tokenizer.quantizer, "stages", (tokenizer.quantizer,)):
        if getattr(stage, "normalize", False):
            digest.update(b"normalize")
        if isinstance(stage, IndexBackpropagationQuantizer):  # its weights might be nearest codes
            digest.update(b"largest product")
    if tokenizer.norm_groups != 32:
        digest.update(np.int64(tokenizer.norm_groups).tobytes())
    return digest.hexdigest()

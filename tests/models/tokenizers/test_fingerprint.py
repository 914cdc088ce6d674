"""Whose tokens they are: a text that changes with whatever tokens depend on."""

from keras_regvq.models import ImageTokenizer
from keras_regvq.models.tokenizers.fingerprint import tokens_fingerprint
from keras_regvq.quantizers import (
    FiniteScalarQuantizer,
    IndexBackpropagationQuantizer,
    RegularizedQuantizer,
    VectorQuantizer,
)


def make(quantizer, **options):
    options = {"middle_attention": False, "patch_size": 4, **options}
    return ImageTokenizer(8, quantizer, 4, (1,), 0, (), 4, **options)


def of_equal_weights():
    """Tokenizers whose settings alone differ."""
    tokenizers = [
        make(VectorQuantizer(8, 4)), make(VectorQuantizer(8, 4, normalize=True)),
        make(IndexBackpropagationQuantizer(8, 4)), make(VectorQuantizer(8, 4), norm_groups=2),
    ]  # fmt: skip
    for tokenizer in tokenizers:
        tokenizer.set_weights(tokenizers[0].get_weights())
    return tokenizers


def test_weights_dither_and_levels_count_and_the_decoder_does_not():
    plain, dithered = (
        make(RegularizedQuantizer(8, 4, logits="cosine", dither=dither)) for dither in (0, 0.3)
    )
    dithered.set_weights(plain.get_weights())
    again = make(RegularizedQuantizer(8, 4, logits="cosine"))
    again.set_weights(plain.get_weights())
    first = tokens_fingerprint(plain)
    assert tokens_fingerprint(again) == first != tokens_fingerprint(dithered)
    again.decoder.set_weights([2 * weight for weight in again.decoder.get_weights()])
    assert tokens_fingerprint(again) == first
    again.quantizer.codebook.assign(-again.quantizer.codebook)
    assert tokens_fingerprint(again) != first
    assert len({tokens_fingerprint(tokenizer) for tokenizer in of_equal_weights()}) == 4
    one = make(FiniteScalarQuantizer([3, 2]))
    other = make(FiniteScalarQuantizer([2, 3]))
    other.set_weights(one.get_weights())
    assert tokens_fingerprint(one) != tokens_fingerprint(other)


def test_the_encoder_counts_in_half_precision_too():
    levels, options = FiniteScalarQuantizer([3, 2]), {"dtype": "bfloat16"}
    one, same, other = (make(levels, **options) for _ in range(3))
    same.set_weights(one.get_weights())
    assert tokens_fingerprint(one) == tokens_fingerprint(same) != tokens_fingerprint(other)

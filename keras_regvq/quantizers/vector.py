"""VQ-VAE's quantizer: the nearest code."""

import keras
from keras import ops

from keras_regvq.checks.arguments import check_number, check_positive_integer
from keras_regvq.quantizers.codebook import CodebookQuantizer, unit_length
from keras_regvq.quantizers.straight_through import best_codes


@keras.saving.register_keras_serializable(package="keras_regvq")
class VectorQuantizer(CodebookQuantizer):
    """Nearest-neighbour vector quantization with a straight-through gradient.

    For a feature e and its nearest code z: losses ||sg(e) - z||^2 ("codebook") and
    beta ||e - sg(z)||^2 ("commitment"), each a mean over positions and channels; the gradient of
    the decoder passes unchanged from z to e. van den Oord et al., "Neural Discrete Representation
    Learning" (2017); the quantizer of VQ-GAN (Esser et al., 2021). With `normalize` codes and
    features are brought to length 1 first, so that the nearest code is that of the largest cosine
    (Yu et al., "Vector-Quantized Image Modeling with Improved VQGAN", 2022), as LlamaGen does it.
    With `rotation_trick` the gradient is turned and scaled on its way as e must be to become z:
    it keeps its angle to the code (Fifty et al., "Restructuring Vector Quantization with the
    Rotation Trick", 2025).

    Args:
        codebook_size: N, the number of codes.
        embedding_dim: d; the features must have as many channels.
        commitment_weight: beta.
        normalize: whether codes are compared, and used, at length 1.
        rotation_trick: whether the decoder's gradient is rotated instead of passed unchanged.
        codebook_initializer: default uniform in [-1/N, 1/N], as VQ-GAN does.
        block_size: bounds the memory: scores exist for about block_size codes a position at a time.

    Example:
        ```python
        quantizer = keras_regvq.quantizers.VectorQuantizer(codebook_size=256, embedding_dim=8)
        result = quantizer(keras.random.normal((2, 4, 4, 8)), training=True)
        result["tokens"].shape  # (2, 4, 4)
        loss = sum(result["losses"].values())  # "codebook" and "commitment"
        ```
    """

    loss_names = ("codebook", "commitment")
    same_width = True
    copies_gradient = True

    def __init__(
        self,
        codebook_size,
        embedding_dim,
        commitment_weight=0.25,
        normalize=False,
        codebook_initializer=None,
        block_size=4096,
        rotation_trick=False,
        **kwargs,
    ):
        if codebook_initializer is None:
            edge = 1.0 / check_positive_integer("codebook_size", codebook_size)
            codebook_initializer = keras.initializers.RandomUniform(-edge, edge)
        super().__init__(codebook_size, embedding_dim, codebook_initializer, block_size, **kwargs)
        self.commitment_weight = check_number("commitment_weight", commitment_weight)
        self.normalize = bool(normalize)
        self.rotation_trick = bool(rotation_trick)

    def codes(self):
        # On TensorFlow the gradient of rows taken from a variable itself is sparse, and clipping
        # by norm then misses repeated rows; the product makes it dense.
        codes = self.codebook * 1.0
        return unit_length(codes) if self.normalize else codes

    def scores(self):
        # argmin ||e - z||^2 = argmax 2 e.z - ||z||^2, whatever the length of e if that of z is 1.
        codebook = self.codes()
        return 2.0 * ops.transpose(codebook), -ops.sum(ops.square(codebook), axis=-1)

    def choose_codes(self, features, training):
        tokens = best_codes(features, *self.scores(), self.block_size)
        chosen = ops.take(self.codes(), tokens, axis=0)
        features = unit_length(features) if self.normalize else features
        fixed_codes, fixed_features = map(ops.stop_gradient, (chosen, features))
        through = rotate(features, fixed_codes) if self.rotation_trick else features
        commitment = ops.mean(ops.square(features - fixed_codes))
        return {
            # through - sg(through) is zero: the value is the code, the gradient that of `through`.
            "embeddings": fixed_codes + (through - ops.stop_gradient(through)),
            "tokens": tokens,
            "losses": {
                "codebook": ops.mean(ops.square(fixed_features - chosen)),
                "commitment": self.commitment_weight * commitment,
            },
        }

    def get_config(self):
        return {
            **super().get_config(),
            "commitment_weight": self.commitment_weight,
            "normalize": self.normalize,
            "rotation_trick": self.rotation_trick,
        }


def rotate(features, codes):
    """Features e (..., d), rotated and scaled onto the codes z, which are fixed, as is the map.

    |z| / |e| (I - 2 w w' + 2 z1 e1') e, with e1 and z1 of length 1 and w = e1 + z1 brought to it.
    """
    lengths = ops.maximum(ops.norm(features, axis=-1, keepdims=True), 1e-12)
    ratio = ops.norm(codes, axis=-1, keepdims=True) / lengths
    from_here, to_there = unit_length(features), unit_length(codes)
    between = unit_length(from_here + to_there)
    ratio, from_here, between = map(ops.stop_gradient, (ratio, from_here, between))
    mirrored = features - 2 * between * ops.sum(between * features, axis=-1, keepdims=True)
    return ratio * (mirrored + 2 * to_there * ops.sum(from_here * features, axis=-1, keepdims=True))

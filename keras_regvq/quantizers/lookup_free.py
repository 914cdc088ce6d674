"""Lookup-free quantization: every channel is a bit of the token."""

import keras
import numpy as np
from keras import ops

from keras_regvq.backend.replicas import mean_over_replicas
from keras_regvq.checks.arguments import check_number, check_positive_integer, refuse
from keras_regvq.losses.prior import kl_to_uniform
from keras_regvq.quantizers.codebook import unit_length
from keras_regvq.quantizers.quantizer import Quantizer

MOST_BITS = 30  # so that tokens fit int32


@keras.saving.register_keras_serializable(package="keras_regvq")
class LookupFreeQuantizer(Quantizer):
    """LFQ and, with `spherical`, BSQ: the signs of d channels are a code, of 2^d.

    A code is sign(e), or on the sphere sign(e) / sqrt(d) for features of length 1; bit i of its
    token says whether channel i is positive. The gradient passes straight through. There is no
    codebook, so none is searched or learned. With the soft assignment p(c | e) = softmax over all
    codes of -||e - c||^2 / tau, the losses are

        entropy      w (mean_e H(p(. | e)) + gamma KL(mean_e p(. | e) || uniform))
        commitment   beta mean ||e - sg(code)||^2

    The first makes each choice sure and all codes used alike; KL is log N - H, so that this is the
    papers' H - gamma H(mean) but for a constant, and never below 0. Since p is a product over the
    bits, H is a sum over them, and the mean over P positions of all 2^d probabilities is one
    product of matrices (2^(d/2), P) (P, 2^(d/2)): exact, and nothing as large as P x 2^d is held.

    Yu et al., "Language Model Beats Diffusion - Tokenizer is Key to Visual Generation" (2024);
    Zhao et al., "Image and Video Tokenization with Binary Spherical Quantization" (2024), whose
    inverse temperature is 2 / tau.

    Args:
        bits: d, 1 to 30; the features must have as many channels.
        spherical: BSQ instead of LFQ.
        entropy_weight: w; with 0 nothing of the size of the codebook is held.
        diversity: gamma.
        commitment_weight: beta.
        temperature: tau.

    Example:
        ```python
        quantizer = keras_regvq.quantizers.LookupFreeQuantizer(bits=10)
        result = quantizer(keras.random.normal((2, 4, 4, 10)), training=True)
        quantizer.codebook_size, result["tokens"].shape  # 1024, (2, 4, 4)
        ```
    """

    loss_names = ("entropy", "commitment")
    same_width = True
    copies_gradient = True

    def __init__(
        self,
        bits=10,
        spherical=False,
        entropy_weight=0.1,
        diversity=1.0,
        commitment_weight=0.25,
        temperature=0.01,
        **kwargs,
    ):
        if check_positive_integer("bits", bits) > MOST_BITS:
            refuse("bits", bits, f"an integer from 1 to {MOST_BITS}")
        super().__init__(2**bits, bits, **kwargs)
        self.bits = int(bits)
        self.spherical = bool(spherical)
        self.entropy_weight = check_number("entropy_weight", entropy_weight)
        self.diversity = check_number("diversity", diversity)
        self.commitment_weight = check_number("commitment_weight", commitment_weight)
        self.temperature = check_number("temperature", temperature)
        if self.temperature == 0:
            refuse("temperature", temperature, "a number above 0")
        self.magnitude = self.bits**-0.5 if self.spherical else 1.0

    def codes(self):
        return self.embed(ops.arange(self.codebook_size, dtype="int32"))

    def embed(self, tokens):
        tokens = ops.cast(self.checked_tokens(tokens), "int32")[..., None]
        signs = ops.mod(ops.floor_divide(tokens, self._powers()), 2)
        return self.magnitude * ops.cast(2 * signs - 1, "float32")

    def best_tokens(self, features):
        rows, grid = self.flatten_grid(features)
        return ops.reshape(self._tokens(rows > 0), grid)

    def choose_codes(self, features, training):
        features = unit_length(features) if self.spherical else features
        positive = features > 0
        code = ops.where(positive, self.magnitude, -self.magnitude)
        fixed = ops.stop_gradient(features)
        commitment = ops.mean(ops.square(features - code))
        return {
            # features - sg(features) is zero: the value is the code, the gradient the identity.
            "embeddings": code + (features - fixed),
            "tokens": self._tokens(positive),
            "losses": {
                "entropy": self.entropy_weight * self.entropies(features),
                "commitment": self.commitment_weight * commitment,
            },
        }

    def entropies(self, features):
        """H(p(. | e)), averaged over (B, L, d) features e, + gamma KL(mean p || uniform)."""
        if self.entropy_weight == 0:
            return ops.zeros(())
        # A bit's two codes differ by 4 magnitude e in squared distance.
        logits = ops.reshape(features, (-1, self.bits)) * (4 * self.magnitude / self.temperature)
        distance = ops.abs(logits)
        of_a_bit = ops.softplus(-distance) + distance * ops.sigmoid(-distance)
        half = (self.bits + 1) // 2
        low, high = bit_products(logits[:, :half]), bit_products(logits[:, half:])
        positions = ops.cast(ops.shape(logits)[0], "float32")
        mean = mean_over_replicas(ops.matmul(ops.transpose(high), low) / positions)
        divergence = kl_to_uniform(ops.reshape(mean, (self.codebook_size,)))
        return ops.mean(ops.sum(of_a_bit, axis=-1)) + self.diversity * divergence

    def _tokens(self, positive):
        # Not shifted: other programs than Keras shift unsigned integers alone.
        return ops.sum(ops.cast(positive, "int32") * self._powers(), axis=-1)

    def _powers(self):
        return ops.convert_to_tensor(2 ** np.arange(self.bits), "int32")

    def get_config(self):
        return {
            **super().get_config(),
            "bits": self.bits,
            "spherical": self.spherical,
            "entropy_weight": self.entropy_weight,
            "diversity": self.diversity,
            "commitment_weight": self.commitment_weight,
            "temperature": self.temperature,
        }


def bit_products(logits):
    """Probabilities (P, 2^k) of all values of k independent bits with the given logits (P, k)."""
    products = ops.ones((ops.shape(logits)[0], 1))
    for bit in range(logits.shape[1]):
        one = ops.sigmoid(logits[:, bit : bit + 1])
        zero = ops.sigmoid(-logits[:, bit : bit + 1])
        products = ops.concatenate([products * zero, products * one], axis=-1)
    return products

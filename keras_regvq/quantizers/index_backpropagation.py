"""IBQ: the choice of a code itself is differentiated, so that all codes learn."""

import keras
from keras import ops

from keras_regvq.backend.replicas import mean_over_replicas
from keras_regvq.checks.arguments import check_number, refuse
from keras_regvq.losses.prior import kl_to_uniform
from keras_regvq.quantizers.codebook import CodebookQuantizer
from keras_regvq.quantizers.differentiated_choice import choose_with_statistics
from keras_regvq.quantizers.straight_through import best_codes, straight_through_lookup


@keras.saving.register_keras_serializable(package="keras_regvq")
class IndexBackpropagationQuantizer(CodebookQuantizer):
    """Index backpropagation: the code of the largest product with the feature.

    With logits l_n = e . z_n and p = onehot(argmax l) whose gradient is that of softmax(l),
    z = sum_n p_n z_n: the decoder's gradient reaches the feature and, through the softmax, *every*
    code. Losses, with q the same code without that gradient, each a mean over positions and
    channels, and r = softmax(l / tau):

        index        ||z - e||^2
        commitment   ||sg(q) - e||^2
        codebook     beta ||q - sg(e)||^2
        entropy      w (mean_e H(r) + gamma KL(mean_e r || uniform))

    The last one is the published H - gamma H(mean) but for the constant log N. Shi et al.,
    "Scalable Image Tokenization with Index Backpropagation Quantization" (2024).

    Args:
        codebook_size: N, the number of codes.
        embedding_dim: d; the features must have as many channels.
        commitment_weight: beta.
        entropy_weight: w; 0 leaves the term out.
        diversity: gamma.
        temperature: tau.
        codebook_initializer: default normal with deviation 1, as the paper's code.
        block_size: bounds the memory: logits exist for about block_size codes a position at a time.

    Example:
        ```python
        quantizer = keras_regvq.quantizers.IndexBackpropagationQuantizer(1024, embedding_dim=8)
        result = quantizer(keras.random.normal((2, 4, 4, 8)), training=True)
        result["tokens"].shape, sorted(result["losses"])
        ```
    """

    loss_names = ("index", "commitment", "codebook", "entropy")
    same_width = True

    def __init__(
        self,
        codebook_size,
        embedding_dim,
        commitment_weight=0.25,
        entropy_weight=0.05,
        diversity=1.0,
        temperature=0.01,
        codebook_initializer=None,
        block_size=1024,
        **kwargs,
    ):
        if codebook_initializer is None:
            codebook_initializer = keras.initializers.RandomNormal(stddev=1.0)
        super().__init__(codebook_size, embedding_dim, codebook_initializer, block_size, **kwargs)
        self.commitment_weight = check_number("commitment_weight", commitment_weight)
        self.entropy_weight = check_number("entropy_weight", entropy_weight)
        self.diversity = check_number("diversity", diversity)
        self.temperature = check_number("temperature", temperature)
        if self.temperature == 0:
            refuse("temperature", temperature, "a number above 0")

    def codes(self):
        return ops.copy(self.codebook)  # a custom gradient on TensorFlow refuses variables

    def scores(self):
        return ops.transpose(self.codes()), ops.zeros((self.codebook_size,), "float32")

    def choose_codes(self, features, training):
        codes = self.codes()
        if self.entropy_weight == 0:
            (kernel, bias), entropy = self.scores(), ops.zeros((), "float32")
            tokens = best_codes(features, kernel, bias, self.block_size)
            sharpness = ops.ones_like(tokens, dtype="float32")
            embeddings, _ = straight_through_lookup(
                features, kernel, bias, codes, tokens, None, sharpness, self.block_size
            )
        else:
            tokens, embeddings, means, negative_entropy = choose_with_statistics(
                features, codes, self.temperature, self.block_size
            )
            mean = mean_over_replicas(ops.mean(means, axis=0))
            entropy = self.diversity * kl_to_uniform(mean) - ops.mean(negative_entropy)
        chosen = ops.take(codes, tokens, axis=0)
        towards_features = chosen - ops.stop_gradient(features)
        losses = {
            "index": ops.mean(ops.square(embeddings - features)),
            "commitment": ops.mean(ops.square(ops.stop_gradient(chosen) - features)),
            "codebook": self.commitment_weight * ops.mean(ops.square(towards_features)),
            "entropy": self.entropy_weight * entropy,
        }
        return {"embeddings": embeddings, "tokens": tokens, "losses": losses}

    def get_config(self):
        return {
            **super().get_config(),
            "commitment_weight": self.commitment_weight,
            "entropy_weight": self.entropy_weight,
            "diversity": self.diversity,
            "temperature": self.temperature,
        }

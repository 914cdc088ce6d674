"""SimVQ: fixed codes, seen through one matrix that is learned."""

import keras
from keras import ops

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.quantizers.codebook import unit_length
from keras_regvq.quantizers.vector import VectorQuantizer

# Options of `VectorQuantizer` for codes that move one by one.
REFUSED = ("ema", "codebook_start", "dead_code_threshold", "projection_dim", "seed")


@keras.saving.register_keras_serializable(package="keras_regvq")
class SimVQQuantizer(VectorQuantizer):
    """Nearest-neighbour quantization with a codebook C W, of which only W is learned.

    C (N, d) is drawn once and stays; W (d, d) moves all codes together, the unused ones with the
    used ones, so that none is left behind. Losses, straight-through gradient and inference are
    `VectorQuantizer`'s, with the rows of C W as codes. Zhu et al., "Addressing Representation
    Collapse in Vector Quantized Models with One Linear Layer" (2024).

    Args:
        codebook_size: N, the number of codes.
        embedding_dim: d; the features must have as many channels.
        commitment_weight, normalize, rotation_trick, block_size: as `VectorQuantizer` takes them.
        codebook_initializer: of C; default normal with deviation 1 / sqrt(d), as the paper's code.

    Example:
        ```python
        quantizer = keras_regvq.quantizers.SimVQQuantizer(codebook_size=1024, embedding_dim=8)
        result = quantizer(keras.random.normal((2, 4, 4, 8)), training=True)
        result["tokens"].shape  # (2, 4, 4)
        [weight.name for weight in quantizer.trainable_weights]  # ["projection"]
        ```
    """

    def __init__(self, codebook_size, embedding_dim, codebook_initializer=None, **kwargs):
        for name in REFUSED:
            if kwargs.get(name) is not None:
                refuse(name, repr(kwargs[name]), "none: one matrix moves all codes together")
        if codebook_initializer is None:
            deviation = check_positive_integer("embedding_dim", embedding_dim) ** -0.5
            codebook_initializer = keras.initializers.RandomNormal(stddev=deviation)
        super().__init__(
            codebook_size, embedding_dim, codebook_initializer=codebook_initializer, **kwargs
        )

    @keras.layers.Layer.trainable.setter
    def trainable(self, value):
        keras.layers.Layer.trainable.fset(self, value)
        if self.built:
            self.codebook.trainable = False

    def build(self, input_shape):
        super().build(input_shape)
        self.codebook.trainable = False
        edge = self.embedding_dim**-0.5  # as PyTorch draws a linear layer's weights
        self.projection = self.add_weight(
            name="projection",
            shape=(self.embedding_dim, self.embedding_dim),
            initializer=keras.initializers.RandomUniform(-edge, edge),
            autocast=False,
        )

    def compared_codes(self):
        codes = ops.matmul(self.codebook, self.projection)
        return unit_length(codes) if self.normalize else codes

    def get_config(self):
        config = super().get_config()
        return {name: value for name, value in config.items() if name not in REFUSED}

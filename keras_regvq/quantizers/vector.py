"""VQ-VAE's quantizer: the nearest code."""

import keras
from keras import ops

from keras_regvq.checks.arguments import check_number, check_positive_integer
from keras_regvq.quantizers.codebook import CodebookQuantizer, distance_scores, unit_length
from keras_regvq.quantizers.straight_through import best_codes
from keras_regvq.quantizers.upkeep import CodebookUpkeep


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

    Four more options, alone or together, keep a codebook in use. With `ema` each code is the
    moving average of the features that chose it (van den Oord et al., 2017, appendix A.1): it gets
    no gradient, and "commitment" is the only loss. With `codebook_start` the codes begin among the
    features of the first batch: "sampled" from them, as in Jukebox (Dhariwal et al., 2020), or
    their means by "kmeans" (Zeghidour et al., "SoundStream", 2021). With `dead_code_threshold` a
    code that few features choose becomes a feature of the batch, as in both. With `projection_dim`
    codes are narrow: features are projected down to be compared with them, and codes are
    projected up, as ViT-VQGAN's factorized codes (Yu et al., 2022); the losses are those of the
    projected features.

    Averages, start and replacement belong to training: they happen in a call with training=True of
    a quantizer that is trainable, once a batch, those of gradient accumulation included. Their
    formulas are in `upkeep.CodebookUpkeep`.

    Args:
        codebook_size: N, the number of codes.
        embedding_dim: d; the features must have as many channels.
        commitment_weight: beta.
        normalize: whether codes are compared, and used, at length 1.
        rotation_trick: whether the decoder's gradient is rotated instead of passed unchanged.
        codebook_initializer: default uniform in [-1/N, 1/N], as VQ-GAN does.
        block_size: bounds the memory: scores exist for about block_size codes a position at a time.
        ema: the decay of the averages, such as 0.99; None trains the codes by gradient.
        codebook_start: None, "sampled" or "kmeans". The first batch should have more positions
            than there are codes: else some codes are equal, and of these only one is chosen.
        dead_code_threshold: a code is replaced if fewer positions of a batch choose it, in the
            moving average; 0 replaces none. If all codes were used alike, each would have P / N of
            the P positions of a batch.
        projection_dim: the width of the codes that features are compared with; None: d.
        seed: of the features that codes become.

    Example:
        ```python
        quantizer = keras_regvq.quantizers.VectorQuantizer(codebook_size=256, embedding_dim=8)
        result = quantizer(keras.random.normal((2, 4, 4, 8)), training=True)
        result["tokens"].shape  # (2, 4, 4)
        loss = sum(result["losses"].values())  # "codebook" and "commitment"

        quantizer = keras_regvq.quantizers.VectorQuantizer(
            256, 64, normalize=True, ema=0.99, codebook_start="kmeans", dead_code_threshold=0.1,
            projection_dim=8,
        )
        result = quantizer(keras.random.normal((4, 16, 16, 64)), training=True)
        list(result["losses"])  # ["commitment"]
        quantizer.codebook.shape  # (256, 8)
        quantizer.codes().shape  # (256, 64)
        ```
    """

    loss_names = ("codebook", "commitment")
    same_width = True

    def __init__(
        self,
        codebook_size,
        embedding_dim,
        commitment_weight=0.25,
        normalize=False,
        codebook_initializer=None,
        block_size=1024,
        rotation_trick=False,
        ema=None,
        codebook_start=None,
        dead_code_threshold=0.0,
        projection_dim=None,
        seed=None,
        **kwargs,
    ):
        if codebook_initializer is None:
            edge = 1.0 / check_positive_integer("codebook_size", codebook_size)
            codebook_initializer = keras.initializers.RandomUniform(-edge, edge)
        super().__init__(codebook_size, embedding_dim, codebook_initializer, block_size, **kwargs)
        self.commitment_weight = check_number("commitment_weight", commitment_weight)
        self.normalize = bool(normalize)
        self.rotation_trick = bool(rotation_trick)
        upkeep = CodebookUpkeep(
            ema, codebook_start, dead_code_threshold, self.normalize, self.block_size, seed
        )
        self.upkeep = upkeep if upkeep.needed else None
        self.ema, self.codebook_start, self.seed = upkeep.ema, codebook_start, seed
        self.dead_code_threshold = upkeep.dead_code_threshold
        if self.ema is not None:
            self.loss_names = ("commitment",)
        if projection_dim is not None:
            projection_dim = check_positive_integer("projection_dim", projection_dim)
        self.projection_dim = projection_dim
        self.copies_gradient = projection_dim is None  # else it passes through two projections
        if projection_dim is not None:
            self.project_in = keras.layers.Dense(projection_dim, dtype="float32", name="project_in")
            self.project_out = keras.layers.Dense(
                self.embedding_dim, dtype="float32", name="project_out"
            )

    def build(self, input_shape):
        super().build(input_shape)
        if self.upkeep is not None:
            self.upkeep.create(self.codebook)
        if self.projection_dim is not None:
            self.project_in.build((None, None, self.embedding_dim))
            self.project_out.build((None, None, self.projection_dim))

    def codebook_weight(self):
        width = self.projection_dim or self.embedding_dim
        return {"shape": (self.codebook_size, width), "trainable": self.ema is None}

    def flatten_grid(self, features):
        rows, grid = super().flatten_grid(features)
        return rows if self.projection_dim is None else self.project_in(rows), grid

    def exported_tokens(self, features):
        if self.projection_dim is None:
            return super().exported_tokens(features)
        rows, grid = self.flatten_grid(features)
        return ops.reshape(super().exported_tokens(rows), grid)

    def compared_codes(self):
        """The codes that features are compared with: (N, d), or (N, projection_dim)."""
        # On TensorFlow the gradient of rows taken from a variable itself is sparse, and clipping
        # by norm then misses repeated rows; the product makes it dense.
        codes = self.codebook * 1.0 if self.upkeep is None else self.upkeep.codes(self.codebook)
        return unit_length(codes) if self.normalize else codes

    def codes(self):
        codes = self.compared_codes()
        return codes if self.projection_dim is None else self.project_out(codes)

    def embed(self, tokens):
        if self.projection_dim is None:
            return super().embed(tokens)
        tokens = self.checked_tokens(tokens)
        return self.project_out(ops.take(self.compared_codes(), tokens, axis=0))

    def scores(self):
        return distance_scores(self.compared_codes())

    def choose_codes(self, features, training):
        upkeep = self.upkeep if training and self.trainable else None
        compared = unit_length(features) if self.normalize else features
        if upkeep is not None:
            upkeep.start(self.codebook, compared)
        tokens = best_codes(features, *self.scores(), self.block_size)
        chosen = ops.take(self.compared_codes(), tokens, axis=0)
        fixed_codes, fixed_features = map(ops.stop_gradient, (chosen, compared))
        through = rotate(compared, fixed_codes) if self.rotation_trick else compared
        losses = {}
        if self.ema is None:
            losses["codebook"] = ops.mean(ops.square(fixed_features - chosen))
        commitment = ops.mean(ops.square(compared - fixed_codes))
        losses["commitment"] = self.commitment_weight * commitment
        # through - sg(through) is zero: the value is the code, the gradient that of `through`.
        embeddings = fixed_codes + (through - ops.stop_gradient(through))
        if upkeep is not None:
            upkeep.update(self.codebook, compared, tokens)
        return {
            "embeddings": (
                embeddings if self.projection_dim is None else self.project_out(embeddings)
            ),
            "tokens": tokens,
            "losses": losses,
        }

    def get_config(self):
        return {
            **super().get_config(),
            "commitment_weight": self.commitment_weight,
            "normalize": self.normalize,
            "rotation_trick": self.rotation_trick,
            "ema": self.ema,
            "codebook_start": self.codebook_start,
            "dead_code_threshold": self.dead_code_threshold,
            "projection_dim": self.projection_dim,
            "seed": self.seed,
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

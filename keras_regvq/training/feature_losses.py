"""The losses that look at deep features, on one pass of the feature network."""

import keras
from keras import ops

from keras_regvq.backend.random_state import BatchSeeds
from keras_regvq.checks.arrays import rgb
from keras_regvq.losses import (
    contrastive_loss,
    perceptual_loss,
    probabilistic_contrastive_loss,
)


class FeatureLosses:
    """Perceptual and contrastive loss of a reconstruction, from the same features.

    Args:
        feature_extractor: maps images (B, H, W, 3) in [0, 1] to a list of (B, H_k, W_k, C_k); its
            `channel_weights`, if it has some, weigh the perceptual loss.
        perceptual_weight: factor of the perceptual loss.
        contrastive_weight: factor of the contrastive loss.
        contrastive: "probabilistic", "plain" or None.
        positions: at most how many positions a layer the contrastive loss compares, drawn anew
            each step, the same in both images: its cost does not grow with the image.
        seed: of the drawn positions.
    """

    def __init__(
        self, feature_extractor, perceptual_weight, contrastive_weight, contrastive, positions, seed
    ):
        self.feature_extractor = feature_extractor
        self.perceptual_weight = perceptual_weight
        self.contrastive_weight = contrastive_weight
        self.contrastive = contrastive if contrastive_weight > 0 else None
        self.positions = positions
        # The same positions in all replicas, as in one process.
        self.seed_generator = keras.random.SeedGenerator(seed)

    def prepare(self, originals, perturbation, training=True):
        """What does not depend on the reconstruction: features, positions and weights.

        Args:
            originals: images (B, H, W, 3) in [0, 1].
            perturbation: (B, h, w), how far each position's sampled code is from its best.
            training: False for the same positions each time.

        Returns:
            dict of "features", and one list entry a layer in "positions" and "weights".
        """
        features = [ops.stop_gradient(layer) for layer in self.feature_extractor(rgb(originals))]
        seeds = self.seed_generator if training else BatchSeeds(ops.zeros((1,), "int32"))
        prepared = {"features": features, "positions": [], "weights": []}
        if self.contrastive is None:
            return prepared
        for layer in features:
            height, width = layer.shape[1:3]
            positions = self._draw_positions(height * width, seeds)
            weights = nearest_resize(perturbation, height, width)
            prepared["positions"].append(positions)
            prepared["weights"].append(gather_positions(weights[..., None], positions)[..., 0])
        return prepared

    def _draw_positions(self, count, seeds):
        """`self.positions` different indices below count, or all of them: int32 (L,)."""
        if count <= self.positions:
            return ops.arange(count, dtype="int32")
        order = ops.argsort(keras.random.uniform((count,), dtype="float32", seed=seeds))
        return ops.cast(order[: self.positions], "int32")

    def __call__(self, reconstruction, prepared):
        """Weighted losses "perceptual" and "contrastive" of a reconstruction (B, H, W, 3).

        The contrastive loss is the mean over the layers.
        """
        features = self.feature_extractor(rgb(reconstruction))
        losses = {}
        if self.perceptual_weight > 0:
            weights = getattr(self.feature_extractor, "channel_weights", None)
            loss = perceptual_loss(prepared["features"], features, weights)
            losses["perceptual"] = self.perceptual_weight * loss
        if self.contrastive is not None:
            terms = []
            for original, layer, positions, weights in zip(
                prepared["features"],
                features,
                prepared["positions"],
                prepared["weights"],
                strict=True,
            ):
                pair = gather_positions(original, positions), gather_positions(layer, positions)
                if self.contrastive == "probabilistic":
                    terms.append(probabilistic_contrastive_loss(*pair, weights))
                else:
                    terms.append(contrastive_loss(*pair))
            losses["contrastive"] = self.contrastive_weight * sum(terms) / len(terms)
        return losses


def gather_positions(features, positions):
    """(B, H, W, C) at flat positions (L,) -> (B, L, C)."""
    batch, height, width, channels = ops.shape(features)
    flat = ops.reshape(features, (batch, height * width, channels))
    return ops.take(flat, positions, axis=1)


def nearest_resize(grid, height, width):
    """(B, h, w) -> (B, height, width), each cell taking the value at its centre."""
    rows = (2 * ops.arange(height, dtype="int32") + 1) * grid.shape[1] // (2 * height)
    columns = (2 * ops.arange(width, dtype="int32") + 1) * grid.shape[2] // (2 * width)
    return ops.take(ops.take(grid, rows, axis=1), columns, axis=2)

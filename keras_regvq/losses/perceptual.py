"""Distances between deep features."""

from keras import ops

from keras_regvq.checks.arguments import refuse


def unit_normalize(features, epsilon=1e-10):
    """Scale feature vectors to length 1 along the channels, in float32; zero vectors stay zero."""
    features = ops.cast(features, "float32")
    # rsqrt(sum + eps) and not x / (norm + eps): the norm has no gradient at an all-zero vector,
    # and ReLU features have many.
    return features * ops.rsqrt(ops.sum(ops.square(features), axis=-1, keepdims=True) + epsilon)


def shapes_agree(first, second):
    """Whether two shapes are equal wherever both are known (a graph may not know all)."""
    sides = zip(first.shape, second.shape, strict=False)
    return len(first.shape) == len(second.shape) and all(
        None in pair or pair[0] == pair[1] for pair in sides
    )


def perceptual_loss(original_features, reconstructed_features, channel_weights=None):
    """Sum over layers of mean over positions of sum_c w_c (y / |y| - z / |z|)_c^2.

    LPIPS, with its network's features and channel weights (`models.LPIPSFeatures`); its form
    without. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric"
    (CVPR 2018).

    Args:
        original_features: list of (B, H_k, W_k, C_k), one a layer.
        reconstructed_features: list of the same shapes.
        channel_weights: list of w (C_k,), one a layer; None: 1 throughout.

    Returns:
        scalar, float32.

    Example:
        ```python
        network = keras_regvq.models.EfficientNetLite0Features(None)  # "imagenet" for real use
        reconstructed = keras_regvq.from_preset("regvq_scenes_64").reconstruct(images)
        loss = keras_regvq.losses.perceptual_loss(network(images), network(reconstructed))
        ```
    """
    distances = layer_distances(original_features, reconstructed_features, channel_weights)
    return sum(map(ops.mean, distances))


def layer_distances(original_features, reconstructed_features, channel_weights=None):
    """The terms of `perceptual_loss`: a list of (B,) float32, one a layer."""
    if len(original_features) != len(reconstructed_features) or not original_features:
        refuse(
            "reconstructed_features",
            f"{len(reconstructed_features)} layers",
            f"as many layers as original_features ({len(original_features)}), at least 1",
        )
    channel_weights = channel_weights or [1.0] * len(original_features)
    if len(channel_weights) != len(original_features):
        received = f"{len(channel_weights)} layers"
        refuse("channel_weights", received, f"one for each of {len(original_features)} layers")
    distances = []
    for original, reconstructed, weights in zip(
        original_features, reconstructed_features, channel_weights, strict=True
    ):
        if not shapes_agree(original, reconstructed):  # some would broadcast
            refuse(
                "reconstructed_features",
                f"shape {tuple(reconstructed.shape)}",
                f"the shape of original_features, {tuple(original.shape)}",
            )
        difference = unit_normalize(original) - unit_normalize(reconstructed)
        squares = ops.sum(ops.square(difference) * weights, axis=-1)
        distances.append(ops.mean(squares, axis=(1, 2)))
    return distances

"""Contrastive losses between an image's features and its reconstruction's."""

from keras import ops

from keras_regvq.checks.arguments import check_number, refuse
from keras_regvq.losses.perceptual import shapes_agree, unit_normalize


def contrastive_loss(original, reconstructed, temperature=0.07):
    """-1/L sum_i log( e^{y_i.z_i/t} / (e^{y_i.z_i/t} + sum_{j != i} e^{y_i.z_j/t}) ).

    The patchwise InfoNCE loss: position i of the reconstruction z is to be nearer to position i
    of the original y than the image's other positions are. Park et al. (2020); "CL" in Reg-VQ.

    Args:
        original: features y, (B, L, C); normalised here to unit length, in float32.
        reconstructed: features z of the same positions, (B, L, C).
        temperature: t.

    Returns:
        scalar, the mean over the batch.

    Example:
        ```python
        original = keras.random.normal((2, 16, 8), seed=0)  # 16 positions an image
        close = original + 0.1 * keras.random.normal((2, 16, 8), seed=1)
        far = keras.random.normal((2, 16, 8), seed=2)
        loss = keras_regvq.losses.contrastive_loss
        float(loss(original, close)) < float(loss(original, far))  # True
        ```
    """
    positive, negative = _log_similarities(original, reconstructed, temperature)
    return ops.mean(ops.softplus(negative - positive))


def probabilistic_contrastive_loss(original, reconstructed, weights, temperature=0.07):
    """-1/L sum_i log( w'_i e^{y_i.z_i/t} / (w'_i e^{y_i.z_i/t} + 1/L sum_{j != i} e^{y_i.z_j/t}) ).

    w' = w / sum w, w_i the squared distance between the sampled and the best code's embeddings.
    The sum runs over the positions with w_i > 0; a position that was not perturbed has no pull.
    The more a position was perturbed the *weaker* its pull: it may not match. No gradient flows
    through w. Reg-VQ, section 3.3 (arXiv 2303.06424).

    Args:
        original: features y, (B, L, C); normalised here to unit length, in float32.
        reconstructed: features z of the same positions, (B, L, C).
        weights: w, (B, L), not negative; an image whose weights are all zero adds 0.
        temperature: t.

    Returns:
        scalar, the mean over the batch.

    Example:
        ```python
        quantizer = keras_regvq.quantizers.RegularizedQuantizer(codebook_size=64, embedding_dim=8)
        result = quantizer(keras.random.normal((2, 4, 4, 8)), training=True)
        weights = keras.ops.reshape(result["perturbation"], (2, 16))  # 0 where nothing was sampled
        original, reconstructed = keras.random.normal((2, 16, 32)), keras.random.normal((2, 16, 32))
        loss = keras_regvq.losses.probabilistic_contrastive_loss(original, reconstructed, weights)
        ```
    """
    if tuple(weights.shape) != tuple(original.shape[:2]):
        refuse("weights", f"shape {tuple(weights.shape)}", f"shape {tuple(original.shape[:2])}")
    positive, negative = _log_similarities(original, reconstructed, temperature)
    weights = ops.stop_gradient(ops.cast(weights, "float32"))
    counts = weights > 0
    total = ops.sum(weights, axis=-1, keepdims=True)
    # Both logarithms get a harmless 1 where there is no weight: a log(0) in the branch that
    # `where` drops would still make the gradient NaN.
    log_weights = ops.log(ops.where(counts, weights, 1.0)) - ops.log(
        ops.where(total > 0, total, 1.0)
    )
    log_length = ops.log(ops.cast(ops.shape(weights)[1], "float32"))
    per_position = ops.softplus(negative - log_length - (log_weights + positive))
    return ops.mean(ops.where(counts, per_position, 0.0))


def _log_similarities(original, reconstructed, temperature):
    """y_i.z_i / t and logsumexp_{j != i} y_i.z_j / t, each (B, L)."""
    shape = tuple(original.shape)
    if len(shape) != 3 or not shapes_agree(original, reconstructed):
        refuse(
            "reconstructed",
            f"shape {tuple(reconstructed.shape)} for original of shape {shape}",
            "two equal shapes (B, L, C)",
        )
    check_number("temperature", temperature, 1e-6)
    original, reconstructed = unit_normalize(original), unit_normalize(reconstructed)
    similarities = ops.matmul(original, ops.transpose(reconstructed, (0, 2, 1))) / temperature
    positive = ops.sum(original * reconstructed, axis=-1) / temperature
    same_position = ops.eye(shape[1], dtype="float32") > 0
    negative = ops.logsumexp(ops.where(same_position, -1e9, similarities), axis=-1)
    return positive, negative

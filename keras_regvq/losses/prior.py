"""The prior on code usage."""

from keras import ops


def kl_to_uniform(distribution, epsilon=1e-10):
    """KL(P || uniform) = sum_n P_n log(N P_n), in nats; 0 if uniform, log N if on one code.

    `epsilon` is added inside the logarithm: at a code that nothing uses (P_n = 0) the gradient is
    then log(epsilon), large and finite, and that is what revives dead codes. Reg-VQ, section 3.1.

    Args:
        distribution: (..., N), rows that sum to 1.

    Returns:
        (...), float32.

    Example:
        ```python
        usage = np.array([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0]])
        keras_regvq.losses.kl_to_uniform(usage)  # 0 and log 4
        ```
    """
    distribution = ops.cast(distribution, "float32")
    size = distribution.shape[-1]
    log_ratio = ops.log(size * distribution + epsilon)
    return ops.sum(distribution * log_ratio, axis=-1)

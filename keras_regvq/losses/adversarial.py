"""Hinge losses of the two players. Lim and Ye, "Geometric GAN" (2017)."""

from keras import ops


def hinge_discriminator_loss(real_logits, fake_logits):
    """(mean max(0, 1 - D(x)) + mean max(0, 1 + D(x_hat))) / 2: scalar, any shapes of logits.

    Example:
        ```python
        real_logits, fake_logits = np.array([2.0, 0.5]), np.array([-1.0, 0.0])
        loss = keras_regvq.losses.hinge_discriminator_loss(real_logits, fake_logits)
        float(loss)  # 0.375
        ```
    """
    real_logits, fake_logits = ops.cast(real_logits, "float32"), ops.cast(fake_logits, "float32")
    return 0.5 * (ops.mean(ops.relu(1.0 - real_logits)) + ops.mean(ops.relu(1.0 + fake_logits)))


def hinge_generator_loss(fake_logits):
    """-mean D(x_hat): scalar. The logits are raw scores: no sigmoid in front of a hinge.

    Example:
        ```python
        fake_logits = np.array([-1.0, 0.5])
        float(keras_regvq.losses.hinge_generator_loss(fake_logits))  # 0.25
        ```
    """
    return -ops.mean(ops.cast(fake_logits, "float32"))

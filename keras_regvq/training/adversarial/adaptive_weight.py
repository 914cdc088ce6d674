"""The adaptive weight of the adversarial loss: VQ-GAN's lambda.

It needs the gradients of both losses at the last convolution's kernel: the convolution's own
backward pass, applied to the two image gradients.
"""

from keras import ops

from keras_regvq.backend.autodiff import losses_and_gradient
from keras_regvq.backend.replicas import mean_over_replicas
from keras_regvq.models.layers.pixel_shuffle import pixel_unshuffle


def last_kernel_gradient(hidden, kernel, image_gradient):
    """Gradient for a convolution's kernel (3, 3, C, O).

    Args:
        hidden: the convolution's input (B, H, W, C).
        kernel: its kernel.
        image_gradient: gradient of a loss for the convolution's output (B, H, W, O).
    """
    hidden = ops.stop_gradient(ops.cast(hidden, "float32"))

    def projection(kernel):
        images = ops.conv(hidden, kernel, padding="same", data_format="channels_last")
        return {"": ops.sum(image_gradient * images)}

    return losses_and_gradient(projection, ops.copy(kernel))[1]


def adaptive_weight(hidden, kernel, reconstruction_gradient, generator_gradient):
    """lambda = |grad L_rec| / (|grad L_gan| + 1e-4) at the last kernel, clipped to [0, 1e4].

    Esser et al. (2021), equation 7. Scalar, no gradient. The gradients are the images'; where the
    decoder makes patches, the convolution's outputs are the pixels of a patch.
    """
    patch_size = reconstruction_gradient.shape[1] // hidden.shape[1]
    if patch_size > 1:
        reconstruction_gradient = pixel_unshuffle(reconstruction_gradient, patch_size)
        generator_gradient = pixel_unshuffle(generator_gradient, patch_size)
    # Side by side, as one convolution with twice the outputs: one backward pass serves both.
    gradient = last_kernel_gradient(
        hidden,
        ops.concatenate([kernel, kernel], axis=-1),
        ops.concatenate([reconstruction_gradient, generator_gradient], axis=-1),
    )
    gradient = mean_over_replicas(gradient)
    norms = [ops.norm(ops.reshape(part, (-1,))) for part in ops.split(gradient, 2, axis=-1)]
    return ops.stop_gradient(ops.clip(norms[0] / (norms[1] + 1e-4), 0.0, 1e4))

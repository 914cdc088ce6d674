"""Both players of the adversarial game in one loss, cut at the reconstruction.

The generator's losses reach the generator only through the reconstruction r, so that their
gradient with respect to r is all it needs. With g that gradient, sum(sg(g) * r) has the same
gradient for every weight of the generator: a surrogate that Keras's own trainer can differentiate
on any backend.
"""

from keras import ops


def surrogate(value, image_gradient, images):
    """A scalar of the given value whose gradient for `images` is `image_gradient`."""
    linear = ops.sum(ops.stop_gradient(image_gradient) * images)
    return linear + ops.stop_gradient(value - linear)

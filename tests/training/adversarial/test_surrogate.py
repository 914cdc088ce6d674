import numpy as np
from keras import ops

from keras_regvq.training.adversarial.surrogate import surrogate
from tests.gradients import value_and_gradients


def test_a_surrogate_has_the_value_and_the_gradient_it_is_given(rng):
    images, gradient = rng.standard_normal((2, 2, 4, 5, 3)).astype("float32")
    value, (received,) = value_and_gradients(
        lambda images: surrogate(3.5, ops.convert_to_tensor(gradient), images), images
    )
    np.testing.assert_allclose(value, 3.5, rtol=1e-6)
    np.testing.assert_array_equal(received, gradient)

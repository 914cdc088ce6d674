import numpy as np
import pytest
from keras import ops

from keras_regvq.training.adversarial.adaptive_weight import adaptive_weight, last_kernel_gradient


@pytest.fixture
def convolution(rng):
    """Input (2, 4, 5, 3) and kernel (3, 3, 3, 3) of a convolution, two gradients at its output."""
    shapes = (2, 4, 5, 3), (3, 3, 3, 3), (2, 4, 5, 3), (2, 4, 5, 3)
    return [rng.standard_normal(shape).astype("float32") for shape in shapes]


def kernel_gradient_by_loops(hidden, image_gradient):
    padded = np.pad(hidden, ((0, 0), (1, 1), (1, 1), (0, 0))).astype("float64")
    _, height, width, _ = hidden.shape
    gradient = np.zeros((3, 3, hidden.shape[3], image_gradient.shape[3]))
    for row, column in np.ndindex(3, 3):
        window = padded[:, row : row + height, column : column + width]
        gradient[row, column] = np.einsum("bhwc,bhwo->co", window, image_gradient)
    return gradient


def numpy_of(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def tensors(arrays):
    return [ops.convert_to_tensor(array) for array in arrays]


def test_the_last_kernels_gradient_is_the_convolutions_own_backward_pass(convolution):
    hidden, kernel, gradient, _ = convolution
    np.testing.assert_allclose(
        numpy_of(last_kernel_gradient(*tensors((hidden, kernel, gradient)))),
        kernel_gradient_by_loops(hidden, gradient),
        atol=1e-5,
    )


def test_the_adaptive_weight_is_the_ratio_of_the_two_norms(convolution):
    hidden, kernel, reconstruction, generator = convolution
    norms = [
        np.linalg.norm(kernel_gradient_by_loops(hidden, gradient))
        for gradient in (reconstruction, generator)
    ]
    weight = numpy_of(adaptive_weight(*tensors(convolution)))
    np.testing.assert_allclose(weight, norms[0] / (norms[1] + 1e-4), rtol=1e-5)


def test_the_adaptive_weight_is_finite_where_the_adversary_has_no_gradient(convolution):
    hidden, kernel, gradient, _ = convolution
    arrays = hidden, kernel, gradient, np.zeros_like(gradient)
    norm = np.linalg.norm(kernel_gradient_by_loops(hidden, gradient))
    assert norm > 1.0  # so that norm / 1e-4 must be clipped
    assert float(numpy_of(adaptive_weight(*tensors(arrays)))) == 1e4

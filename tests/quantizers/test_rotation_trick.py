"""The rotation trick against its definition: a rotation matrix that is built, in PyTorch."""

import numpy as np
import pytest
import torch
from keras import ops

from keras_regvq.quantizers import VectorQuantizer
from tests.gradients import assert_close, layer_gradients

WIDTH = 4


def rotation(start, end):
    """The rotation in the plane of two vectors that turns one onto the other, by Rodrigues."""
    u, v = start / start.norm(), end / end.norm()
    cosine = u @ v
    across = v - cosine * u
    sine = across.norm()
    w = across / sine
    turned = (cosine - 1) * (torch.outer(u, u) + torch.outer(w, w))
    return torch.eye(len(u)).double() + turned + sine * (torch.outer(w, u) - torch.outer(u, w))


@pytest.mark.parametrize("normalize", [False, True])
def test_the_gradient_is_rotated_and_scaled_as_the_feature_is(normalize, rng):
    features = rng.normal(size=(1, 3, 4, WIDTH)).astype("float32")
    upstream = rng.normal(size=features.shape).astype("float32")
    layer = VectorQuantizer(6, WIDTH, 0.0, normalize, rotation_trick=True)
    layer.build(features.shape)
    layer.codebook.assign(rng.normal(size=(6, WIDTH)))
    outputs, _, gradients = layer_gradients(
        layer,
        features,
        lambda outputs: ops.sum(outputs["embeddings"] * ops.convert_to_tensor(upstream)),
        training=True,
    )
    raw = torch.tensor(features.astype("float64").reshape(-1, WIDTH), requires_grad=True)
    e = raw / raw.norm(dim=-1, keepdim=True) if normalize else raw
    codes = torch.tensor(ops.convert_to_numpy(layer.codes()).astype("float64"))
    chosen = codes[outputs["tokens"].ravel()]
    moved = torch.stack(
        [
            ((z.norm() / f.norm()) * rotation(f, z)).detach() @ f
            for f, z in zip(e, chosen, strict=True)
        ]
    )
    np.testing.assert_allclose(moved.detach(), chosen, atol=1e-9)
    (moved * torch.tensor(upstream.reshape(-1, WIDTH))).sum().backward()
    assert_close(outputs["embeddings"], chosen.numpy().reshape(features.shape))
    assert_close(gradients["inputs"], raw.grad.numpy().reshape(features.shape))


def test_features_opposite_to_their_code_have_a_finite_gradient():
    layer = VectorQuantizer(1, WIDTH, rotation_trick=True)
    layer.build((1, 1, 1, WIDTH))
    layer.codebook.assign(np.ones((1, WIDTH)))
    features = -np.ones((1, 1, 1, WIDTH), "float32")
    _, _, gradients = layer_gradients(
        layer, features, lambda outputs: ops.sum(outputs["embeddings"] ** 2), training=True
    )
    assert np.isfinite(gradients["inputs"]).all()

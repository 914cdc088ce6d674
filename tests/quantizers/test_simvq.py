"""SimVQ: VQ whose codes are a fixed table times a learned matrix, against PyTorch."""

import numpy as np
import pytest
import torch
from keras import ops

from keras_regvq.quantizers import SimVQQuantizer
from tests.gradients import assert_close, layer_gradients

CODES, WIDTH = 9, 4


@pytest.mark.parametrize("normalize", [False, True])
def test_outputs_losses_and_gradients_are_those_of_the_projected_codes(normalize, rng):
    features = rng.normal(size=(2, 3, 4, WIDTH)).astype("float32")
    upstream = rng.normal(size=features.shape).astype("float32")
    layer = SimVQQuantizer(CODES, WIDTH, commitment_weight=0.3, normalize=normalize)
    layer.build(features.shape)
    layer.codebook.assign(rng.normal(size=(CODES, WIDTH)))
    layer.projection.assign(rng.normal(size=(WIDTH, WIDTH)))

    def loss(outputs):
        total = ops.sum(outputs["embeddings"] * ops.convert_to_tensor(upstream))
        return total + sum(outputs["losses"].values())

    outputs, _, gradients = layer_gradients(layer, features, loss, training=True)

    table, matrix = (
        torch.tensor(ops.convert_to_numpy(weight).astype("float64"))
        for weight in (layer.codebook, layer.projection)
    )
    raw = torch.tensor(features.astype("float64"), requires_grad=True)
    matrix.requires_grad_()
    z, codes = raw, table @ matrix
    if normalize:
        z, codes = (v / v.norm(dim=-1, keepdim=True) for v in (z, codes))
    tokens = ((z[..., None, :] - codes) ** 2).sum(-1).argmin(-1)
    chosen = codes[tokens]
    losses = {
        "codebook": ((z.detach() - chosen) ** 2).mean(),
        "commitment": 0.3 * ((z - chosen.detach()) ** 2).mean(),
    }
    embeddings = z + (chosen - z).detach()
    ((embeddings * torch.tensor(upstream)).sum() + sum(losses.values())).backward()

    assert len(np.unique(tokens)) > 3
    np.testing.assert_array_equal(outputs["tokens"], tokens.numpy())
    assert_close(outputs["embeddings"], chosen.detach().numpy())
    for name, value in losses.items():
        assert_close(outputs["losses"][name], value.item())
    assert set(gradients) == {"inputs", "projection"}  # the table stays as it was drawn
    assert_close(gradients["inputs"], raw.grad.numpy())
    assert_close(gradients["projection"], matrix.grad.numpy())


def test_its_table_stays_frozen_when_it_is_trained_again():
    layer = SimVQQuantizer(8, 4)
    layer.build((None, None, None, 4))
    layer.trainable = False  # as a generator does with its tokenizer
    assert layer.trainable_variables == []
    layer.trainable = True
    assert [variable.name for variable in layer.trainable_variables] == ["projection"]

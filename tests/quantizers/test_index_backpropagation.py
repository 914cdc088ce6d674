"""IBQ against its formulas with one-hot vectors, written out in PyTorch."""

import numpy as np
import pytest
import torch
from keras import ops

from benchmarks.plain_torch.index_backpropagation import IndexBackpropagationQuantizer as PlainIBQ
from keras_regvq.quantizers import IndexBackpropagationQuantizer
from tests.gradients import assert_close, layer_gradients

CODES, WIDTH = 7, 5


@pytest.mark.parametrize("block_size", [4096, 3, 1])
@pytest.mark.parametrize("entropy_weight", [0.05, 0.0])
def test_outputs_losses_and_gradients_are_the_published_ones(entropy_weight, block_size, rng):
    features = rng.normal(size=(2, 3, 4, WIDTH)).astype("float32")
    upstream = rng.normal(size=features.shape).astype("float32")
    table = rng.normal(size=(CODES, WIDTH)).astype("float32")
    options = (0.3, entropy_weight, 0.8, 0.5)
    layer = IndexBackpropagationQuantizer(CODES, WIDTH, *options, block_size=block_size)
    layer.build(features.shape)
    layer.codebook.assign(table)

    def loss(outputs):
        total = ops.sum(outputs["embeddings"] * ops.convert_to_tensor(upstream))
        return total + sum(outputs["losses"].values())

    outputs, _, gradients = layer_gradients(layer, features, loss, training=True)
    plain = PlainIBQ(CODES, WIDTH, *options).double()
    plain.embedding.weight.data = torch.tensor(table).double()
    e = torch.tensor(features).double().requires_grad_()
    z, tokens, loss_sum, losses = plain(e)
    tokens, codes = tokens.numpy(), plain.embedding.weight
    ((z * torch.tensor(upstream)).sum() + loss_sum).backward()

    assert len(np.unique(tokens)) > 3
    for name in ("tokens", "best_tokens"):
        np.testing.assert_array_equal(outputs[name], tokens)
    assert_close(outputs["embeddings"], z.detach().numpy())
    assert set(outputs["losses"]) == set(losses)
    for name, value in losses.items():
        assert_close(outputs["losses"][name], value.item())
    assert_close(gradients["inputs"], e.grad.numpy())
    assert_close(gradients["codebook"], codes.grad.numpy())
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.best_tokens(features)), tokens)


def test_codes_that_nothing_chooses_learn_too(rng):
    features = rng.normal(size=(1, 2, 2, WIDTH)).astype("float32")
    layer = IndexBackpropagationQuantizer(CODES, WIDTH, entropy_weight=0.0)
    layer.build(features.shape)
    outputs, _, gradients = layer_gradients(
        layer, features, lambda outputs: ops.sum(outputs["embeddings"][..., 0]), training=True
    )
    unused = np.setdiff1d(np.arange(CODES), outputs["tokens"])
    assert len(unused) and np.abs(gradients["codebook"][unused]).sum(-1).min() > 0

"""The vector quantizer with codes of length 1, against PyTorch's automatic gradients."""

import keras
import numpy as np
import torch

from keras_regvq.quantizers import VectorQuantizer
from tests.gradients import assert_close, layer_gradients

SHAPE = (2, 3, 4, 5)


def weighted(upstream):
    def loss(outputs):
        total = keras.ops.sum(outputs["embeddings"] * upstream)
        return total + sum(outputs["losses"].values())

    return loss


def test_outputs_losses_and_gradients_are_those_of_normalized_codes_and_features(rng):
    features = 3 * rng.normal(size=SHAPE).astype("float32")
    upstream = rng.normal(size=SHAPE).astype("float32")
    layer = VectorQuantizer(7, 5, commitment_weight=0.3, normalize=True)
    layer.build(SHAPE)
    layer.codebook.assign(rng.normal(size=(7, 5)) * 2)
    outputs, value, gradients = layer_gradients(
        layer, features, weighted(keras.ops.convert_to_tensor(upstream)), training=True
    )

    raw = torch.tensor(features.astype("float64"), requires_grad=True)
    table = torch.tensor(keras.ops.convert_to_numpy(layer.codebook).astype("float64"))
    table.requires_grad_()
    z, codes = (v / v.norm(dim=-1, keepdim=True) for v in (raw, table))
    tokens = ((z[..., None, :] - codes) ** 2).sum(-1).argmin(-1)
    chosen = codes[tokens]
    codebook = ((z.detach() - chosen) ** 2).mean()
    commitment = 0.3 * ((z - chosen.detach()) ** 2).mean()
    embeddings = z + (chosen - z).detach()
    total = (embeddings * torch.tensor(upstream)).sum() + codebook + commitment
    total.backward()

    np.testing.assert_array_equal(outputs["tokens"], tokens.numpy())
    assert len(np.unique(tokens)) > 3
    assert_close(outputs["embeddings"], chosen.detach().numpy())
    assert_close(outputs["losses"]["codebook"], float(codebook))
    assert_close(outputs["losses"]["commitment"], float(commitment))
    assert_close(value, float(total))
    assert_close(gradients["inputs"], raw.grad.numpy())
    assert_close(gradients["codebook"], table.grad.numpy())
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(layer.best_tokens(features)), tokens.numpy()
    )
    assert_close(layer.embed(tokens.numpy()), chosen.detach().numpy())
    assert VectorQuantizer.from_config(layer.get_config()).normalize

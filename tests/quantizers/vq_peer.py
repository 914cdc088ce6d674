"""A VectorQuantizer and vector-quantize-pytorch's VectorQuantize with the same weights."""

import numpy as np
import torch
from keras import ops
from vector_quantize_pytorch import VectorQuantize

from keras_regvq.quantizers import VectorQuantizer
from tests.gradients import assert_close, layer_gradients

CODES, WIDTH, NARROW, BETA, DECAY = 9, 6, 3, 0.3, 0.8


def make_pair(rng, narrow=False, normalize=False, rotation_trick=False, threshold=0.0, **options):
    """Both, learning by moving averages: `codes` of random directions."""
    width = NARROW if narrow else WIDTH
    layer = VectorQuantizer(
        CODES, WIDTH, BETA, normalize, rotation_trick=rotation_trick, ema=DECAY,
        dead_code_threshold=threshold, projection_dim=width if narrow else None, block_size=4,
        **options,
    )  # fmt: skip
    layer.build((None, None, None, WIDTH))
    peer = VectorQuantize(
        WIDTH, CODES, codebook_dim=width, decay=DECAY, commitment_weight=BETA,
        use_cosine_sim=normalize, rotation_trick=rotation_trick, threshold_ema_dead_code=threshold,
    )  # fmt: skip
    codes = rng.normal(size=(CODES, width)).astype("float32")
    if normalize:
        codes /= np.linalg.norm(codes, axis=-1, keepdims=True)
    layer.codebook.assign(codes)
    layer.upkeep.sums.assign(codes)
    for state in (peer._codebook.embed, peer._codebook.embed_avg):
        state.data.copy_(torch.tensor(codes)[None])
    if narrow:
        for ours, theirs in projections(layer, peer):
            ours.bias.assign(rng.normal(size=ours.bias.shape))
            theirs.weight.data.copy_(torch.tensor(array(ours.kernel)).T)
            theirs.bias.data.copy_(torch.tensor(array(ours.bias)))
    return layer, peer.train()


def projections(layer, peer):
    return [(layer.project_in, peer.project_in), (layer.project_out, peer.project_out)]


def array(variable):
    return np.array(ops.convert_to_numpy(variable))


def check_step(layer, peer, features, upstream):
    """One call of both with gradients: all that comes out, and the state afterwards, is equal."""
    outputs, _, gradients = layer_gradients(
        layer,
        features,
        lambda out: (
            ops.sum(out["embeddings"] * ops.convert_to_tensor(upstream))
            + sum(out["losses"].values())
        ),
        training=True,
    )
    given = torch.tensor(features.reshape(len(features), -1, WIDTH), requires_grad=True)
    embeddings, tokens, loss = peer(given)
    (embeddings * torch.tensor(upstream.reshape(embeddings.shape))).sum().add(loss.sum()).backward()

    np.testing.assert_array_equal(outputs["tokens"].reshape(tokens.shape), tokens.numpy())
    assert_close(outputs["embeddings"].reshape(embeddings.shape), embeddings.detach().numpy())
    assert set(outputs["losses"]) == {"commitment"}
    assert_close(outputs["losses"]["commitment"], loss.item())
    assert_close(gradients.pop("inputs"), given.grad.numpy().reshape(features.shape))
    for ours, theirs in projections(layer, peer) if layer.projection_dim else ():
        assert_close(gradients.pop(f"{ours.name}/kernel"), theirs.weight.grad.numpy().T)
        assert_close(gradients.pop(f"{ours.name}/bias"), theirs.bias.grad.numpy())
        theirs.zero_grad()
    assert not gradients  # none for the codebook
    state = peer._codebook
    assert_close(array(layer.upkeep.counts), state.cluster_size[0].numpy())
    assert_close(array(layer.upkeep.sums), state.embed_avg[0].numpy())
    assert_close(array(layer.compared_codes()), state.embed[0].numpy())
    return outputs

"""Our quantizers and the one-hot PyTorch reference, with the same weights and the same draws."""

import keras
import numpy as np
import torch

from benchmarks.plain_torch import quantizers as plain
from keras_regvq.quantizers import GumbelQuantizer, RegularizedQuantizer, VectorQuantizer
from tests.gradients import assert_close, layer_gradients

BATCH, HEIGHT, WIDTH, CHANNELS = 2, 3, 4, 5
LENGTH = HEIGHT * WIDTH
CODES, CODE_WIDTH = 11, 3
GRIDS = ("tokens", "best_tokens", "mask")


def make(quantizer_class, rng, channels=CHANNELS, **arguments):
    """A built quantizer with random weights, all of order 1."""
    layer = quantizer_class(CODES, CODE_WIDTH, **arguments)
    layer.build((None, None, None, channels))
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape).astype("float32"))
    return layer


class ScriptedDraws:
    """Stands in for keras.random.uniform: given numbers, on every backend and in any chunks.

    A chunk's draw is known by its seed, as it is drawn again, and in a loop that is traced once.
    """

    def __init__(self, rng, sampled_count, batch=BATCH, length=LENGTH, codes=CODES):
        self.sampled_count = sampled_count
        self.order = rng.uniform(size=(batch, length)).astype("float32")
        self.uniform = rng.uniform(1e-3, 1 - 1e-3, size=(batch, length, codes)).astype("float32")

    def __call__(self, shape, dtype=None, seed=None):
        if len(shape) == 2:
            assert tuple(shape) == self.order.shape
            return keras.ops.convert_to_tensor(self.order)
        batch, size, codes = shape
        assert (batch, codes) == (self.uniform.shape[0], self.uniform.shape[2])
        if size == self.uniform.shape[1]:
            return keras.ops.convert_to_tensor(self.uniform)
        # A codebook in blocks draws for the sampled positions alone.
        length = self.sampled_count
        chunks = -(-length // size)
        filled = np.full((batch, chunks * size, codes), 0.5, "float32")
        filled[:, :length] = self.uniform[self.mask].reshape(batch, length, codes)
        if chunks == 1:
            return keras.ops.convert_to_tensor(filled)
        chunked = keras.ops.convert_to_tensor(filled.reshape(batch, chunks, size, codes))
        # The second number of a chunk's seed counts the chunks.
        draw = keras.ops.cast(seed.next()[1], "int32")
        return keras.ops.take(chunked, draw, axis=1)

    @property
    def gumbel(self):
        return -np.log(-np.log(self.uniform.astype("float64")))

    @property
    def mask(self):
        """Bool (B, L): the positions of the smallest numbers of `order`."""
        sampled = np.argsort(self.order, axis=-1)[:, : self.sampled_count]
        mask = np.zeros(self.order.shape, bool)
        np.put_along_axis(mask, sampled, True, axis=1)
        return mask


def differentiate(layer, features, upstream, **arguments):
    """Run ours: (outputs as NumPy arrays, embeddings . upstream + all losses, its gradients)."""
    upstream = keras.ops.convert_to_tensor(upstream)

    def loss(outputs):
        return keras.ops.sum(outputs["embeddings"] * upstream) + sum(outputs["losses"].values())

    return layer_gradients(layer, features, loss, **arguments)


def reference(layer, features, upstream, draws=None, training=True):
    """Run PyTorch's in float64: (outputs, losses and embeddings too, value, gradients)."""
    config = layer.get_config()
    weights = {v.name: keras.ops.convert_to_numpy(v.value) for v in layer.trainable_variables}
    common = dict(feature_channels=features.shape[-1], temperature=config.get("temperature"))
    if isinstance(layer, VectorQuantizer):
        module = plain.VectorQuantizer(CODES, CODE_WIDTH, config["commitment_weight"])
    elif isinstance(layer, GumbelQuantizer):
        module = plain.GumbelQuantizer(CODES, CODE_WIDTH, kl_weight=config["kl_weight"], **common)
    else:
        assert isinstance(layer, RegularizedQuantizer)
        names = ("mask_ratio", "prior_weight", "prior_scope", "prior_estimator")
        options = {name: config[name] for name in names}
        module = plain.RegularizedQuantizer(CODES, CODE_WIDTH, **options, **common)
    module = module.double().train(training)

    parameters = {"codebook": getattr(module, "embed", getattr(module, "embedding", None)).weight}
    parameters["codebook"].data = torch.tensor(weights["codebook"]).double()
    if hasattr(module, "proj"):
        module.proj.weight.data = torch.tensor(weights["logits_kernel"].T)[..., None, None].double()
        module.proj.bias.data = torch.tensor(weights["logits_bias"]).double()
        parameters["logits_kernel"] = module.proj.weight
        parameters["logits_bias"] = module.proj.bias

    inputs = torch.tensor(features).double().requires_grad_()
    arguments = {}
    if draws is not None:
        arguments["noise"] = torch.tensor(draws.gumbel)
    if draws is not None and isinstance(layer, RegularizedQuantizer):
        arguments["mask"] = torch.tensor(draws.mask.reshape(-1, *features.shape[1:3]))
    result = module(inputs.permute(0, 3, 1, 2), **arguments)
    embeddings = result["embeddings"].permute(0, 2, 3, 1)
    value = (embeddings * torch.tensor(upstream)).sum() + sum(result["losses"].values())
    parameters["inputs"] = inputs
    pulls = torch.autograd.grad(value, list(parameters.values()))
    gradients = {name: pull.numpy() for name, pull in zip(parameters, pulls, strict=True)}
    if "logits_kernel" in gradients:
        gradients["logits_kernel"] = gradients["logits_kernel"][:, :, 0, 0].T

    outputs = {name: result[name].numpy() for name in (*GRIDS, "perturbation")}
    outputs["embeddings"] = embeddings.detach().numpy()
    outputs["losses"] = {name: loss.item() for name, loss in result["losses"].items()}
    return outputs, value.item(), gradients


def assert_same_gradients(actual, expected):
    assert set(actual) == set(expected)
    for name in expected:
        assert np.abs(expected[name]).max() > 1e-3, f"the test says nothing about {name}"
        assert_close(actual[name], expected[name], message=f"gradient of {name}")

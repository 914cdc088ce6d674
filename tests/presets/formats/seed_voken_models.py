"""A small IBQ of SEED-Voken with random weights, its averages, and its own forward pass."""

import torch
from torch import nn

from benchmarks.plain_torch.vqgan import VQGAN
from tests.presets.formats.peer_models import check_equal, images, random_norms, torch_images

CODES, WIDTH = 20, 6


class LargestProduct(nn.Module):
    """IBQ's choice: the code whose softmax over products with the feature is largest."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(CODES, WIDTH)

    def forward(self, features):
        scores = torch.einsum("bdhw,nd->bnhw", features, self.embedding.weight).softmax(1)
        tokens = scores.argmax(1)
        return {"embeddings": self.embedding(tokens).permute(0, 3, 1, 2), "best_tokens": tokens}


class Averages(nn.Module):
    """A buffer for each parameter of a model, under its name without dots, and two numbers."""

    def __init__(self, model):
        super().__init__()
        self.register_buffer("decay", torch.tensor(0.999))
        self.register_buffer("num_updates", torch.tensor(-1, dtype=torch.int))
        for name, value in model.named_parameters():
            self.register_buffer(name.replace(".", ""), value.detach().clone())


class IBQ(VQGAN):
    """As published: the network, its quantizer, and the averages beside."""

    def __init__(self):
        super().__init__(
            LargestProduct(), ch=32, ch_mult=(1, 2, 2), num_res_blocks=2, attn_resolutions=(8,),
            resolution=32, z_channels=5, embed_dim=WIDTH,
        )  # fmt: skip
        random_norms(self)
        # Codes of very different lengths: the nearest one is mostly another.
        scales = torch.linspace(0.3, 3.0, CODES)[:, None]
        self.quantize.embedding.weight.data *= scales
        self.model_ema = Averages(self)

    def use_averages(self):
        """Evaluate with the averages, as the project does."""
        kept = dict(self.model_ema.named_buffers())
        for name, value in self.named_parameters():
            value.data.copy_(kept[name.replace(".", "")])
        return self


def ibq_model(seed=0):
    torch.manual_seed(seed)
    return IBQ()


def trained_state(seed=0):
    """A checkpoint's tensors, whose weights are others than their averages, with loss networks."""
    model = ibq_model(seed)
    for value in model.parameters():
        value.data.mul_(1.5)
    loss = {
        "loss.discriminator.main.0.weight": torch.zeros(3),
        "model_ema.lossdiscriminatormain0weight": torch.zeros(3),
    }
    return {**model.state_dict(), **loss}


def check_ibq(tokenizer, model):
    pictures = images(32)
    with torch.no_grad():
        tokens = model(torch_images(pictures))[1]["best_tokens"].numpy()

    def decode(tokens):
        return model.decode(model.quantize.embedding(tokens).permute(0, 3, 1, 2))

    check_equal(tokenizer, pictures, tokens, decode)

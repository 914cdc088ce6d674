"""IBQ with one-hot vectors, as its paper writes it (Shi et al., 2024)."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.plain_torch.quantizers import kl_to_uniform, straight_through


class IndexBackpropagationQuantizer(nn.Module):
    """Features e (..., d) to the code of the largest product with them, and its losses.

    index = mean ||z - e||^2, with z the code whose choice is differentiated; commitment and
    codebook as of VQ, of the code q alone; entropy = w (mean H(r) + gamma KL(mean r || uniform))
    of r = softmax(e Z' / tau).
    """

    def __init__(
        self,
        codebook_size,
        embedding_dim,
        commitment_weight=0.25,
        entropy_weight=0.05,
        diversity=1.0,
        temperature=0.01,
    ):
        super().__init__()
        self.embedding = nn.Embedding(codebook_size, embedding_dim)
        self.commitment_weight, self.entropy_weight = commitment_weight, entropy_weight
        self.diversity, self.temperature = diversity, temperature

    def forward(self, features):
        """(embeddings, tokens, the sum of the losses, the losses by name)"""
        codes = self.embedding.weight
        logits = features @ codes.T
        tokens = logits.argmax(-1)
        embeddings = straight_through(tokens, logits.softmax(-1)) @ codes
        chosen = codes[tokens]
        sharp = logits / self.temperature
        probabilities = sharp.softmax(-1)
        entropy = -(probabilities * sharp.log_softmax(-1)).sum(-1).mean()
        divergence = kl_to_uniform(probabilities.flatten(0, -2).mean(0))
        losses = {
            "index": F.mse_loss(embeddings, features),
            "commitment": F.mse_loss(features, chosen.detach()),
            "codebook": self.commitment_weight * F.mse_loss(chosen, features.detach()),
            "entropy": self.entropy_weight * (entropy + self.diversity * divergence),
        }
        return embeddings, tokens, torch.stack(list(losses.values())).sum(), losses

"""Three quantizers with explicit one-hots: nearest neighbour, Gumbel, and Reg-VQ's masked one.

Each takes features (B, C, h, w) and returns a dictionary:

    embeddings    (B, d, h, w)  the chosen codes, differentiable as the quantizer's estimator says
    tokens        (B, h, w)     the codes used
    best_tokens   (B, h, w)     the codes used at inference: nearest, or largest logit
    mask          (B, h, w)     bool, True where the code was sampled
    perturbation  (B, h, w)     || codebook[tokens] - codebook[best_tokens] ||^2, no gradient
    losses        {name: weighted scalar}

Positions are counted row by row wherever they are flattened: index = row * w + column.
"""

import torch
from torch import nn
from torch.nn import functional as F


def to_positions(maps):
    """(B, C, h, w) -> (B, h * w, C)."""
    return maps.flatten(2).transpose(1, 2)


def to_maps(positions, height, width):
    """(B, h * w, C) -> (B, C, h, w)."""
    return positions.transpose(1, 2).unflatten(2, (height, width))


def gumbel_noise(like):
    """g = -log(e) with e ~ Exponential(1): standard Gumbel noise of the shape of `like`."""
    # Not `empty_like`: it keeps the strides of a transposed tensor, and with them the draws' order.
    return -torch.empty(like.shape, dtype=like.dtype, device=like.device).exponential_().log()


def straight_through(tokens, soft):
    """One-hot of `tokens` (..., ) in value, `soft` (..., N) in gradient.

    The value is the hard one-hot, so `one_hot @ codebook` has the gather's codebook gradient: what
    arrives at a position is added into the chosen row, and into no other.
    """
    hard = F.one_hot(tokens, soft.shape[-1]).to(soft.dtype)
    return hard + (soft - soft.detach())


def kl_to_uniform(distribution, eps=1e-10):
    """KL(P || 1/N) = sum_n P_n log(N P_n + eps), (..., N) -> (...), in nats.

    With eps inside, an unused code has the slope log(eps): large, which revives it, and finite.
    """
    codes = distribution.shape[-1]
    return (distribution * torch.log(codes * distribution + eps)).sum(dim=-1)


class VectorQuantizer(nn.Module):
    """Nearest code, straight-through: VQ-VAE (arXiv 1711.00937) and VQ-GAN.

    codebook   = mean || sg(z_e) - z_q ||^2
    commitment = beta * mean || z_e - sg(z_q) ||^2     (means over all elements, sg = stop gradient)
    """

    def __init__(self, codebook_size, embedding_dim, commitment_weight=0.25):
        super().__init__()
        self.embedding = nn.Embedding(codebook_size, embedding_dim)
        nn.init.uniform_(self.embedding.weight, -1 / codebook_size, 1 / codebook_size)
        self.commitment_weight = commitment_weight

    def forward(self, features):
        height, width = features.shape[2:]
        encoded = to_positions(features)
        codebook = self.embedding.weight
        # |a - b|^2 without its |a|^2, which is the same for every code.
        distances = codebook.square().sum(dim=1) - 2 * encoded @ codebook.T
        tokens = distances.argmin(dim=-1)
        chosen = self.embedding(tokens)
        losses = {
            "codebook": F.mse_loss(chosen, encoded.detach()),
            "commitment": self.commitment_weight * F.mse_loss(encoded, chosen.detach()),
        }
        embeddings = encoded + (chosen - encoded).detach()
        sampled = torch.zeros_like(tokens, dtype=torch.bool)
        return _result(embeddings, tokens, tokens, sampled, codebook, losses, height, width)


class GumbelQuantizer(nn.Module):
    """Hard Gumbel-softmax at every position while training (arXiv 2102.12092); argmax otherwise.

    kl = kl_weight * mean over positions of sum_n q_n log(N q_n + 1e-10), with q = softmax(logits)
    """

    def __init__(
        self, codebook_size, embedding_dim, temperature=1.0, kl_weight=5e-4, feature_channels=None
    ):
        super().__init__()
        self.proj = nn.Conv2d(feature_channels or embedding_dim, codebook_size, 1)
        self.embed = nn.Embedding(codebook_size, embedding_dim)
        self.temperature = temperature
        self.kl_weight = kl_weight

    def forward(self, features, noise=None):
        """`noise` (B, h * w, N): Gumbel draws to use in place of fresh ones; training mode only."""
        height, width = features.shape[2:]
        logits = to_positions(self.proj(features))
        best = logits.argmax(dim=-1)
        if self.training:
            noisy = logits + (gumbel_noise(logits) if noise is None else noise)
            tokens, soft = noisy.argmax(dim=-1), (noisy / self.temperature).softmax(dim=-1)
        else:
            tokens, soft = best, logits.softmax(dim=-1)
        one_hot = straight_through(tokens, soft)
        losses = {"kl": self.kl_weight * kl_to_uniform(logits.softmax(dim=-1)).mean()}
        sampled = torch.full_like(tokens, self.training, dtype=torch.bool)
        codebook = self.embed.weight
        return _result(one_hot @ codebook, tokens, best, sampled, codebook, losses, height, width)


class RegularizedQuantizer(nn.Module):
    """Masked quantizer with a prior over the codes: Reg-VQ (arXiv 2303.06424).

    With logits l, mask M (exactly round(ratio * h * w) ones an image) and Gumbel noise g:

        M = 0   t = argmax l         backward through softmax(l)
        M = 1   t = argmax (l + g)   backward through softmax((l + g) / tau)

    prior = weight * KL(P || 1/N), P the mean over an image's positions (scope "image", then the
    mean over images) or over the whole batch's ("batch") of the straight-through one-hots
    (estimator "hard") or of softmax(l) ("soft").
    """

    def __init__(
        self,
        codebook_size,
        embedding_dim,
        mask_ratio=0.4,
        temperature=1.0,
        prior_weight=0.01,
        prior_scope="image",
        prior_estimator="hard",
        feature_channels=None,
    ):
        super().__init__()
        if prior_scope not in ("image", "batch"):
            raise ValueError(f'prior_scope must be "image" or "batch", got {prior_scope!r}')
        if prior_estimator not in ("hard", "soft"):
            raise ValueError(f'prior_estimator must be "hard" or "soft", got {prior_estimator!r}')
        self.proj = nn.Conv2d(feature_channels or embedding_dim, codebook_size, 1)
        self.embed = nn.Embedding(codebook_size, embedding_dim)
        self.mask_ratio = mask_ratio
        self.temperature = temperature
        self.prior_weight = prior_weight
        self.prior_scope = prior_scope
        self.prior_estimator = prior_estimator

    def forward(self, features, noise=None, mask=None):
        """`noise` (B, h * w, N) and `mask` (B, h, w) replace fresh draws; training mode only."""
        return self.quantize_logits(self.proj(features), noise, mask)

    def quantize_logits(self, logits, noise=None, mask=None):
        """The same from token logits (B, N, h, w)."""
        height, width = logits.shape[2:]
        logits = to_positions(logits)
        best = logits.argmax(dim=-1)
        soft_best = logits.softmax(dim=-1)
        if self.training:
            noisy = logits + (gumbel_noise(logits) if noise is None else noise)
            sampled = self.draw_mask(best) if mask is None else mask.flatten(1).bool()
            soft_noisy = (noisy / self.temperature).softmax(dim=-1)
            tokens = torch.where(sampled, noisy.argmax(dim=-1), best)
            soft = torch.where(sampled[..., None], soft_noisy, soft_best)
        else:
            sampled, tokens, soft = torch.zeros_like(best, dtype=torch.bool), best, soft_best
        one_hot = straight_through(tokens, soft)
        usage = one_hot if self.prior_estimator == "hard" else soft_best
        losses = {"prior": self.prior_weight * self.prior_loss(usage)}
        codebook = self.embed.weight
        return _result(one_hot @ codebook, tokens, best, sampled, codebook, losses, height, width)

    def draw_mask(self, positions):
        """(B, L) -> bool (B, L), exactly round(ratio * L) True in each row, at random places."""
        count = round(self.mask_ratio * positions.shape[1])
        # The rank of each position in a random order: ranks below `count` are the sampled ones.
        scores = torch.rand(positions.shape, device=positions.device)
        return scores.argsort(dim=1).argsort(dim=1) < count

    def prior_loss(self, usage):
        """(B, L, N) distributions at each position -> KL(mean || 1/N), unweighted."""
        axes = 1 if self.prior_scope == "image" else (0, 1)
        return kl_to_uniform(usage.mean(dim=axes)).mean()


def _result(embeddings, tokens, best_tokens, sampled, codebook, losses, height, width):
    perturbation = (codebook[tokens] - codebook[best_tokens]).detach().square().sum(dim=-1)

    def grid(values):
        return values.unflatten(1, (height, width))

    return {
        "embeddings": to_maps(embeddings, height, width),
        "tokens": grid(tokens),
        "best_tokens": grid(best_tokens),
        "mask": grid(sampled),
        "perturbation": grid(perturbation),
        "losses": losses,
    }

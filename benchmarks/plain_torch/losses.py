"""Reconstruction and adversarial losses as functions of tensors; all return float scalars.

Feature maps are (B, C, H, W); contrastive features are (B, L, C), one row a position.
"""

import math

import torch
from torch.nn import functional as F


def unit_normalize(features, dim):
    """x / (||x|| + 1e-10) along `dim`, in at least float32."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    return features / (torch.linalg.vector_norm(features, dim=dim, keepdim=True) + 1e-10)


def perceptual_loss(original_features, reconstructed_features):
    """sum over layers of mean over (B, H, W) of || unit(original) - unit(reconstructed) ||^2.

    The form of LPIPS (arXiv 1801.03924) without its learned channel weights. Both arguments are
    sequences of (B, C, H, W), one entry a layer.
    """
    total = 0.0
    for original, reconstructed in zip(original_features, reconstructed_features, strict=True):
        difference = unit_normalize(original, dim=1) - unit_normalize(reconstructed, dim=1)
        total = total + difference.square().sum(dim=1).mean()
    return total


def _similarities(original, reconstructed, temperature):
    """s_ij = y_i . z_j / tau, (B, L, L), with y and z unit-normalised."""
    original, reconstructed = unit_normalize(original, -1), unit_normalize(reconstructed, -1)
    return original @ reconstructed.transpose(1, 2) / temperature


def contrastive_loss(original, reconstructed, temperature=0.07):
    """-1/L sum_i log( e^{s_ii} / sum_j e^{s_ij} ), mean over the batch (arXiv 2007.15651)."""
    similarities = _similarities(original, reconstructed, temperature)
    positive = torch.diagonal(similarities, dim1=1, dim2=2)
    return (torch.logsumexp(similarities, dim=2) - positive).mean()


def probabilistic_contrastive_loss(original, reconstructed, weights, temperature=0.07):
    """Reg-VQ's PCL (arXiv 2303.06424), mean over the batch; `weights` (B, L) get no gradient.

    -1/L sum_{i: w_i > 0} log( w'_i e^{s_ii} / (w'_i e^{s_ii} + 1/L sum_{j != i} e^{s_ij}) )

    with w' = w / sum w. Positions with w_i = 0 are left out as positives (log 0) and stay in as
    negatives. All-zero weights give zero.
    """
    length = original.shape[1]
    similarities = _similarities(original, reconstructed, temperature)
    positive = torch.diagonal(similarities, dim1=1, dim2=2)
    own = torch.eye(length, dtype=torch.bool, device=similarities.device)
    others = similarities.masked_fill(own, -torch.inf)
    negatives = torch.logsumexp(others, dim=2) - math.log(length)

    weights = weights.detach().to(similarities.dtype)
    active = weights > 0
    # log 0 is avoided first and its place dropped last: zeroing an infinite term leaves 0 * inf.
    log_share = torch.where(active, weights, 1.0).log()
    log_total = torch.where(active.any(dim=1), weights.sum(dim=1), 1.0).log()
    log_odds = log_share - log_total[:, None] + positive - negatives
    return torch.where(active, F.softplus(-log_odds), 0.0).mean()


def hinge_discriminator_loss(real_logits, fake_logits):
    """1/2 (mean max(0, 1 - D(x)) + mean max(0, 1 + D(x_hat)))."""
    return 0.5 * (F.relu(1.0 - real_logits).mean() + F.relu(1.0 + fake_logits).mean())


def hinge_generator_loss(fake_logits):
    """-mean D(x_hat)."""
    return -fake_logits.mean()

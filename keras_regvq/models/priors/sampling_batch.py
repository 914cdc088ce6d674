"""What is to be sampled, checked: conditions, or a number of samples, and what is to stay."""

import numpy as np

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.models.priors.token_grids import check_mask_on


def sampling_batch(prior, condition, num_samples, tokens, mask):
    """Check what a prior is to sample.

    Args:
        prior: a TokenPrior.
        condition, num_samples, tokens, mask: as its `generate` takes them.

    Returns:
        dict of "tokens" int32 and "mask" bool (B, L), and "condition" where there is one.
    """
    batch, count = {}, None
    if (tokens is None) != (mask is None):
        refuse("mask", "only one of `tokens` and `mask`", "both or neither")
    if tokens is not None:
        tokens = prior.check_token_grid("tokens", tokens)
        count = len(tokens)
    if prior.condition is not None:
        if condition is None:
            refuse("condition", "None", f"what a {type(prior.condition).__name__} takes")
        batch["condition"] = prior.condition.check(condition)
        conditions = len(batch["condition"])
        if count not in (None, conditions):
            refuse("tokens", f"{count} examples", f"{conditions}, as many as conditions")
        count = conditions
    elif condition is not None:
        refuse("condition", describe(condition), "None for a prior without condition")
    if num_samples is not None:
        check_positive_integer("num_samples", num_samples)
        if count not in (None, num_samples):
            given = "tokens" if prior.condition is None else "conditions"
            refuse("num_samples", num_samples, f"None, or {count}, as many as {given}")
    if count is None:
        count = 1 if num_samples is None else int(num_samples)
    if tokens is None:
        tokens, mask = np.zeros((count, *prior.grid), "int32"), np.ones((count, *prior.grid))
    mask = check_mask_on(prior.grid, mask, count)
    flat = (count, prior.length)
    return {**batch, "tokens": tokens.reshape(flat), "mask": mask.reshape(flat)}

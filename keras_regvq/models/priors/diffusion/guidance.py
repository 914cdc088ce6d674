"""Classifier-free guidance of a diffusion prior, away from no condition or from a negative one.

Ho and Salimans, "Classifier-Free Diffusion Guidance" (2021).
"""

import numpy as np
from keras import ops

from keras_regvq.checks.arguments import refuse
from keras_regvq.models.priors.token_choice import check_guidance_scale


def guidance_arrays(prior, scale, negative, count):
    """Check the guidance of `count` samples; the arrays that it needs, none if there is none.

    Args:
        prior: a DiffusionPrior.
        scale: number of at least 0; 1 is no guidance.
        negative: a batch like the condition, or None.

    Returns:
        dict of "guidance" (B,) and, where there is one, "negative_condition".
    """
    scale = check_guidance_scale(scale)
    if negative is not None:
        if prior.condition is None:
            refuse("negative_condition", "one", "None for a prior without condition")
        negative = prior.condition.check(negative, "negative_condition")
        if len(negative) != count:
            refuse("negative_condition", f"{len(negative)} examples", f"{count}")
        if scale == 1:
            refuse("guidance_scale", scale, "another than 1 with a negative condition")
    if scale == 1:
        return {}
    arrays = {"guidance": np.full(count, scale, "float32")}
    if negative is not None:
        arrays["negative_condition"] = negative
    else:
        prior.check_guidable(scale)
    return arrays


def denoiser(prior, batch):
    """The prior's `denoise` for a batch's conditions, guided where the batch says so.

    Args:
        prior: a DiffusionPrior.
        batch: dict of "tokens" (B, L), "condition" where there is one, and `guidance_arrays`.

    Returns:
        function of noised tokens or latents and times (B,).
    """
    size, condition = ops.shape(batch["tokens"])[0], batch.get("condition")
    if "guidance" not in batch:
        embedded = prior.embed_condition(condition)
        return lambda noised, times: prior.denoise(noised, times, *embedded)
    dropped = None
    if "negative_condition" not in batch:
        dropped = ops.arange(2 * size, dtype="int32") >= size
    both = ops.concatenate([condition, batch.get("negative_condition", condition)])
    embedded = prior.embed_condition(both, dropped)

    def guided(noised, times):
        noised, times = (ops.concatenate([value, value]) for value in (noised, times))
        both = prior.denoise(noised, times, *embedded)
        wanted, unwanted = both[:size], both[size:]
        scale = ops.reshape(batch["guidance"], (-1,) + (1,) * (len(both.shape) - 1))
        return unwanted + scale * (wanted - unwanted)

    return guided

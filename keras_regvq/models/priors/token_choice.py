"""Choosing the next token from logits: temperature, top-k, top-p and guidance."""

import numpy as np
from keras import ops

from keras_regvq.checks.arguments import check_number, check_positive_integer, check_seed, refuse

_GREEDY, _MOST_GUIDANCE = 1e-6, 1e6


def check_guidance_scale(scale):
    """Return a guidance scale as a float: more than a million is none."""
    return check_number("guidance_scale", scale, 0.0, _MOST_GUIDANCE)


def random_numbers(seed):
    """NumPy's random numbers of a sample, of a seed or, for None, others each time."""
    return np.random.default_rng(check_seed("seed", seed, most=None))


def choice_arrays(codebook_size, count, temperature, top_k, top_p):
    """Check what `choose_tokens` takes besides logits and random numbers.

    Args:
        codebook_size: N.
        count: B, samples.
        temperature: at least 0; 0, and what logits cannot be divided by, means top_k = 1.
        top_k, top_p: or None.

    Returns:
        dict of "temperature" (B,) and, if there is one, "top_p" (B,); top_k, an int or None.
    """
    temperature = check_number("temperature", temperature)
    if temperature < _GREEDY:
        temperature, top_k = 1.0, 1
    if top_k is not None:
        top_k = min(check_positive_integer("top_k", top_k), codebook_size)
    arrays = {"temperature": np.full(count, temperature, "float32")}
    if top_p is not None:
        arrays["top_p"] = np.full(count, check_number("top_p", top_p, 0, 1), "float32")
    return arrays, top_k


def choose_tokens(logits, uniform, temperature, top_k=None, top_p=None):
    """Draw one token an example from softmax(logits / temperature), by the inverse of its CDF.

    One uniform number a token decides, so that a whole sample's random numbers are small, are
    drawn before the loop, and are the same on every backend.

    Args:
        logits: float32 (B, N).
        uniform: (B,) in [0, 1).
        temperature: (B,), above 0.
        top_k: Python int: only the k likeliest tokens are drawn from; None: from all.
        top_p: (B,): only the likeliest tokens that together reach this probability (nucleus
            sampling, Holtzman et al., 2019) are drawn from, at least one; None: from all.

    Returns:
        int32 (B,).
    """
    if top_k == 1:
        return ops.cast(ops.argmax(logits, axis=-1), "int32")
    if top_k is None and top_p is None:
        return _first_above(ops.softmax(logits / temperature[:, None]), uniform)
    # In descending order: the kept tokens are the first ones.
    logits, tokens = ops.top_k(logits, logits.shape[-1] if top_k is None else top_k)
    probabilities = ops.softmax(logits / temperature[:, None])
    if top_p is not None:
        before = ops.cumsum(probabilities, axis=-1) - probabilities
        # The likeliest always stays, whatever rounding does.
        kept = (before < top_p[:, None]) | (ops.arange(logits.shape[-1], dtype="int32") == 0)
        probabilities = ops.where(kept, probabilities, 0.0)
    rank = _first_above(probabilities, uniform)
    return ops.cast(ops.take_along_axis(tokens, rank[:, None], axis=-1)[:, 0], "int32")


def _first_above(probabilities, uniform):
    """The first index whose cumulated probability exceeds uniform * total: int32 (B,)."""
    cumulated = ops.cumsum(probabilities, axis=-1)
    below = cumulated <= uniform[:, None] * cumulated[:, -1:]
    index = ops.sum(ops.cast(below, "int32"), axis=-1)
    return ops.minimum(index, probabilities.shape[-1] - 1)


def guide(conditional, unconditional, scale):
    """Classifier-free guidance (Ho and Salimans, 2021): (B, N) logits, scale (B,)."""
    return unconditional + scale[:, None] * (conditional - unconditional)


def guidance_scales(scale, schedule, length):
    """The guidance scale at each of `length` tokens.

    Args:
        scale: number of at least 0; 1 is no guidance.
        schedule: "constant"; "linear" or "cosine", which rise from 1 at the first token to `scale`
            at the last; or a function from the share of tokens already there, in [0, 1), to the
            factor of (scale - 1).

    Returns:
        float32 (length,).
    """
    scale = check_guidance_scale(scale)
    share = np.arange(length) / length
    factors = {
        "constant": np.ones(length),
        "linear": (np.arange(length) + 1) / length,
        "cosine": (1 - np.cos(np.pi * (np.arange(length) + 1) / length)) / 2,
    }
    if callable(schedule):
        factor = np.array([float(schedule(value)) for value in share])
    elif isinstance(schedule, str) and schedule in factors:
        factor = factors[schedule]
    else:
        expected = f"one of {', '.join(map(repr, factors))}, or a function"
        refuse("guidance_schedule", repr(schedule), expected)
    if not (np.abs(factor) <= _MOST_GUIDANCE).all():
        refuse("guidance_schedule", f"one that gives {factor[:5]} ...", "finite factors")
    return (1.0 + (scale - 1.0) * factor).astype("float32")

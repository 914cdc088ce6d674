"""The mask-and-replace process of discrete diffusion: what noise does to tokens, and its reverse.

Gu et al., "Vector Quantized Diffusion Model for Text-to-Image Synthesis" (2022). A token is kept,
replaced by a random one or masked, and a masked one stays masked. At step t of T, of a clean token

    alpha_t = 1 - t / T    is left as it was,
    beta_t  = replace_share * t / T / N    is the chance of each of the N codes in its place,
    gamma_t = (1 - replace_share) * t / T    is the chance of the mask.

From step s to a later step t the chances are alpha_t / alpha_s, and so on: `between`.
"""

import numpy as np
from keras import ops

_TINY = 1e-30
_SMALL = 1e-8  # a ratio of chances that is not trusted further: without replacement it is infinite


class MaskAndReplace:
    """The process for N codes; the mask is token N.

    Args:
        codebook_size: N.
        num_timesteps: T.
        replace_share: share of the noised tokens that are replaced by random ones in the end,
            the others are masked; 0 for masks alone.
    """

    def __init__(self, codebook_size, num_timesteps=100, replace_share=0.1):
        self.codebook_size, self.num_timesteps = codebook_size, num_timesteps
        self.replace_share = replace_share

    def chances(self, step):
        """(alpha, beta, gamma) at a step in [0, T], a number, an array or a tensor."""
        share = step / self.num_timesteps
        replaced = self.replace_share * share
        return 1.0 - share, replaced / self.codebook_size, share - replaced

    def between(self, earlier, later):
        """(alpha, beta, gamma) of the transition from step `earlier` to step `later` above it."""
        (alpha_s, _, gamma_s), (alpha_t, _, gamma_t) = map(self.chances, (earlier, later))
        alpha, kept = alpha_t / alpha_s, (1.0 - gamma_t) / (1.0 - gamma_s)
        return alpha, (kept - alpha) / self.codebook_size, 1.0 - kept

    def noise(self, tokens, step, uniform, others):
        """Draw what is left of tokens at a step.

        Args:
            tokens: int32 (B, L).
            step: float (B, 1).
            uniform: (B, L) in [0, 1), decides what happens to each token.
            others: int32 (B, L), random codes.

        Returns:
            int32 (B, L) in [0, N].
        """
        alpha, beta, _ = self.chances(step)
        unmasked = alpha + beta * self.codebook_size
        noised = ops.where(uniform < alpha, tokens, others)
        return ops.where(uniform < unmasked, noised, self.codebook_size)

    def log_likelihood_ratio(self, step):
        """log q(x_t = k | x_0 = k) - log q(x_t = k | x_0 = another code), at steps (B, 1)."""
        alpha, beta, _ = self.chances(step)
        return ops.log(alpha + beta + _SMALL) - ops.log(beta + _SMALL)

    def reverse_table(self, steps):
        """What `reverse` needs for each pair of successive steps.

        Args:
            steps: NumPy integers (S + 1,), falling from T to 0.

        Returns:
            float32 (S, 6): for masked tokens the shares of "stay" and "clean", for the others
            those of "agree", "stay", "clean" and "random".
        """
        later, earlier = steps[:-1].astype("float64"), steps[1:].astype("float64")
        alpha_s, beta_s, gamma_s = self.chances(earlier)
        _, _, gamma_t = self.chances(later)
        alpha, beta, gamma = self.between(earlier, later)
        masked = [gamma_s / gamma_t, gamma / gamma_t * alpha_s]
        random = self.codebook_size * beta * beta_s
        others = [alpha * alpha_s, alpha * beta_s, beta * alpha_s, random]
        return np.stack(masked + others, axis=-1).astype("float32")

    def reverse(self, noised, clean, row, uniform, others):
        """Draw the tokens at the earlier step from q(x_s | x_t, x_0).

        The posterior is a mixture: stay as it is, the clean token, or any code at random.

        Args:
            noised: int32 (B, L), x_t.
            clean: int32 (B, L), x_0, drawn from what the network predicts.
            row: (B, 6), a row of `reverse_table`, repeated.
            uniform: (B, L) in [0, 1), decides between the three.
            others: int32 (B, L), random codes.

        Returns:
            int32 (B, L).
        """
        masked = noised == self.codebook_size
        mask_stay, mask_clean, agree, stay, to_clean, random = ops.split(row, 6, axis=-1)
        stay = stay + ops.where(noised == clean, agree, 0.0)
        # All zero where x_t is no mask, not x_0, and nothing is ever replaced: it stays.
        total = ops.maximum(stay + to_clean + random, _TINY)
        never = stay + to_clean + random <= 0.0
        staying = ops.where(masked, mask_stay, ops.where(never, 1.0, stay / total))
        cleaned = staying + ops.where(masked, mask_clean, to_clean / total)
        drawn = ops.where(uniform < cleaned, clean, others)
        return ops.where(uniform < staying, noised, drawn)

    def variational_terms(self, clean, noised, step, logits):
        """KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) in nats, of each token.

        p is the posterior's mean over the network's prediction of x_0. At t = 1 this is the
        cross-entropy of x_0. Times T, its mean over random t bounds a token's negative
        log-likelihood; the remaining term, at t = T, is 0, since nothing is left of x_0 there.

        Both are g_k (a x_k + b X), with g_k = q(x_t | x_{t-1} = k), x the weights
        p(x_0 = k) / q(x_t | x_0 = k) and X their sum. So the sum over the N codes has four kinds of
        terms, and only that of log p needs them all: no one-hot is made.

        Args:
            clean, noised: int32 (B, L), x_0 and x_t.
            step: float (B, 1), t from 1 to T.
            logits: float32 (B, L, N), of x_0.

        Returns:
            float32 (B, L).
        """
        masked = noised == self.codebook_size
        alpha_s, beta_s, _ = self.chances(step - 1.0)
        alpha_t, beta_t, gamma_t = self.chances(step)
        alpha, beta, gamma = self.between(step - 1.0, step)
        beta_s, beta_t, beta = (ops.maximum(value, _TINY) for value in (beta_s, beta_t, beta))

        probabilities = ops.softmax(logits)
        code = ops.where(masked, 0, noised)  # anything: unused where masked
        p_clean, p_code = (
            ops.take_along_axis(probabilities, index[..., None], axis=-1)[..., 0]
            for index in (clean, code)
        )
        same = noised == clean
        # q(x_t | x_0), for x_0 the noised code and for all others; and their means under p.
        at, off = alpha_t + beta_t, ops.where(masked, gamma_t, beta_t)
        at = ops.where(masked, off, at)
        total = (1.0 - p_code) / off + p_code / at

        def log_p(probability, likelihood):
            return ops.log(ops.maximum(alpha_s * probability / likelihood + beta_s * total, _TINY))

        log_all = ops.sum(
            ops.log(
                ops.maximum(
                    alpha_s[..., None] * probabilities / off[..., None]
                    + (beta_s * total)[..., None],
                    _TINY,
                )
            ),
            axis=-1,
        )
        log_code = log_p(p_code, at)
        log_all = log_all - log_p(p_code, off) + log_code
        clean_likelihood = ops.where(same, at, off)
        log_clean = log_p(p_clean, clean_likelihood)
        q_clean, q_other = (alpha_s + beta_s) / clean_likelihood, beta_s / clean_likelihood

        # g_k: where x_t is the mask the same for all codes, else larger at the code itself.
        g_off = ops.where(masked, gamma, beta)
        g_code = ops.where(masked, gamma, alpha + beta)
        g_clean = ops.where(same, g_code, g_off)
        # 1 where the noised code is another than the clean one
        elsewhere = ops.cast(ops.logical_not(same), g_off.dtype)
        log_others = g_off * (log_all - log_clean - elsewhere * log_code)
        log_others = log_others + elsewhere * g_code * log_code
        g_others = g_off * (self.codebook_size - 1 - elsewhere) + elsewhere * g_code
        divergence = g_clean * q_clean * (ops.log(q_clean) - log_clean)
        divergence = divergence + q_other * (g_others * ops.log(q_other) - log_others)
        # Without replacement a token that is not masked is known: nothing is to be learned.
        known = ops.logical_not(masked) if self.replace_share == 0 else ops.zeros_like(masked)
        return ops.where(known, 0.0, divergence)

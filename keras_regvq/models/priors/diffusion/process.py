"""What a diffusion prior asks of its process, whichever it is."""

import inspect

from keras import layers, ops

from keras_regvq.backend.sampling_steps import repeated
from keras_regvq.checks.arguments import check_choice, refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.models.priors.diffusion.sampler import Sampler


class Process(layers.Layer):
    """Base class: what noise does to tokens, and the layers between them and the U-Net.

    A prior calls `build_for` once, with its own sizes. What is noised may be tokens or latents of
    them: the process and its samplers alone know which.

    A subclass has a `kind`, its name; `samplers`, a dict of `Sampler` classes by name, the default
    first; and `logged`, the names of the losses besides "loss".

    Example:
        ```python
        # Trains more often on tokens with much noise.
        class NoisierProcess(keras_regvq.models.DiscreteProcess):
            def corrupt(self, tokens, times, seed):
                return super().corrupt(tokens, keras.ops.sqrt(times), seed)

        prior = keras_regvq.models.DiffusionPrior(
            256, (4, 4), NoisierProcess(), channels=32, num_res_blocks=1
        )
        prior.compile()
        prior.fit({"tokens": np.zeros((8, 4, 4), "int32")}, batch_size=4)
        ```
    """

    kind = None
    samplers = {}
    logged = ()

    def build_for(self, codebook_size, grid, channels):
        """Create the weights for N codes, a grid (h, w) and the U-Net's input channels C.

        Of q tokens a position the grid is (h, w, q), and the U-Net's plane (h, w * q).
        """
        raise NotImplementedError(f"{type(self).__name__} must implement build_for()")

    def set_codebook(self, codebook):
        """Take over what the process needs of a tokenizer's codebook (N, d): nothing."""

    def check_ready(self):
        """Raise ValueError if something is missing before training or sampling: nothing."""

    def embed(self, noised):
        """Noised tokens or latents -> features (B, L, C)."""
        raise NotImplementedError(f"{type(self).__name__} must implement embed()")

    def predict(self, features, noised, times):
        """The U-Net's features (B, h, w, C) for what was noised -> the prediction, float32."""
        raise NotImplementedError(f"{type(self).__name__} must implement predict()")

    def corrupt(self, tokens, times, seed):
        """Noise tokens int32 (B, L) at times (B,) in (0, 1]: a dict with "noised" and "times"."""
        raise NotImplementedError(f"{type(self).__name__} must implement corrupt()")

    def losses(self, tokens, outputs):
        """Scalars by name, "loss" among them.

        Args:
            tokens: (B, h, w), the clean ones.
            outputs: what `corrupt` gave, and "prediction".
        """
        raise NotImplementedError(f"{type(self).__name__} must implement losses()")

    def get_sampler(self, sampler=None, argument="sampler", **options):
        """The `Sampler` for a name or a sampler of this process; None: the default.

        Args:
            sampler: None, a name in `samplers`, or a `Sampler`.
            argument: how to call it in the error.
            **options: arguments of a sampler that is given by its name.
        """
        if isinstance(sampler, Sampler):
            if sampler.process != self.kind:
                received = f"a {type(sampler).__name__}, for a {sampler.process} process"
                refuse(argument, received, f"a sampler of the {self.kind} process")
            for name, value in options.items():
                refuse(name, value, f"{name} as the sampler itself has it")
            return sampler
        names = tuple(self.samplers)
        if sampler is not None and not isinstance(sampler, str):
            refuse(argument, describe(sampler), f"one of {', '.join(map(repr, names))}, a Sampler")
        chosen = check_choice(argument, names[0] if sampler is None else sampler, names)
        taken = inspect.signature(self.samplers[chosen]).parameters
        for name, value in options.items():
            if name not in taken:
                refuse(name, value, f"none: the sampler {chosen!r} has no {name}")
        return self.samplers[chosen](**options)

    def choice_arrays(self, count, temperature, top_k, top_p):
        """Check how tokens are to be chosen: arrays (B,) by name, and top_k.

        This process chooses none: the defaults alone are taken.
        """
        if (temperature, top_k, top_p) != (1.0, None, None):
            received = f"{temperature}, {top_k}, {top_p}"
            refuse("temperature, top_k, top_p", received, "1, None, None: for discrete priors")
        return {}, None

    def step_arrays(self, mask, num_steps, rng):
        """What `clean` needs of random numbers: arrays (B, S, ...) by name."""
        return {}

    def sampling_arrays(self, sampler, mask, num_steps, rng):
        """ "start" and "steps", what `sample` needs besides tokens, mask and `choice_arrays`."""
        rows = self.step_arrays(mask, num_steps, rng)
        start, own = sampler.arrays(self, mask, num_steps, rng)
        return {"start": start, "steps": {**rows, **own}}

    def sample(self, sampler, denoise, batch, top_k=None):
        """Draw the masked tokens; runs inside a compiled function.

        Args:
            sampler: a `Sampler` of this process.
            denoise: maps noised tokens or latents and times (B,) to the network's prediction.
            batch: dict of "tokens" int32 and "mask" bool (B, L), and what `choice_arrays` and
                `sampling_arrays` gave.
            top_k: Python int or None.

        Returns:
            int32 (B, L).
        """
        state = batch["start"], ops.zeros_like(batch["start"])
        noised, _ = self.sample_part(sampler, denoise, batch, state, top_k)
        return ops.where(batch["mask"], self.to_tokens(noised), batch["tokens"])

    def sample_part(self, sampler, denoise, batch, state, top_k=None):
        """Take those steps of `sample` that `batch` has.

        Args:
            sampler, denoise, batch, top_k: as above.
            state: what is noised, "start" at first, and the clean tokens or latents of the step
                before, zeros at first.

        Returns:
            the same after the steps.
        """
        rows, known = batch["steps"], self.from_tokens(batch["tokens"])
        steps = ops.shape(rows["times"])[1]
        denoise = repeated(denoise, steps)

        def step(index, state):
            noised, previous = state
            now = {name: ops.take(values, index, axis=1) for name, values in rows.items()}
            noised = self.with_known(noised, known, batch, now["times"])
            prediction = denoise(noised, now["times"])
            clean = self.clean(prediction, noised, batch, now, top_k)
            return sampler.step(self, now, noised, prediction, clean, previous), clean

        return ops.fori_loop(0, steps, step, state)

    def from_tokens(self, tokens):
        """Tokens int32 (B, L) as the process has them without noise."""
        raise NotImplementedError(f"{type(self).__name__} must implement from_tokens()")

    def to_tokens(self, clean):
        """The inverse of `from_tokens`."""
        raise NotImplementedError(f"{type(self).__name__} must implement to_tokens()")

    def with_known(self, noised, known, batch, times):
        """What is noised at times (B,), with the tokens that are kept in their places.

        Args:
            noised, known: tokens or latents.
            batch: dict of "mask", the tokens that are drawn, and "start", the pure noise.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement with_known()")

    def clean(self, prediction, noised, batch, now, top_k):
        """Clean tokens or latents by the network's prediction; `now` is of `step_arrays`."""
        raise NotImplementedError(f"{type(self).__name__} must implement clean()")

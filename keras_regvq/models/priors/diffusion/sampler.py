"""What a sampler of a diffusion prior is: the way from noise to tokens, step by step."""


class Sampler:
    """Base class. A subclass is a frozen dataclass of numbers: equal samplers compile once.

    All that depends on random numbers, on the number of steps and on the times is made as arrays
    before the compiled loop; within it `step` goes from one noise level to the next.

    Example:
        ```python
        import dataclasses

        # Takes every token that the network predicts for masks alone.
        @dataclasses.dataclass(frozen=True)
        class AtOnce(keras_regvq.models.Sampler):
            process = "discrete"

            def arrays(self, process, mask, num_steps, rng):
                start = np.full(mask.shape, process.codebook_size, "int32")  # N is the mask
                return start, {"times": np.ones((len(mask), num_steps), "float32")}

            def step(self, process, now, noised, prediction, clean, previous):
                return clean

        prior = keras_regvq.models.DiffusionPrior(256, (4, 4), channels=32)
        tokens = prior.generate(num_samples=2, sampler=AtOnce(), num_steps=1)  # int32 (2, 4, 4)
        ```
    """

    process = None  # the `kind` of the processes that it samples

    def arrays(self, process, mask, num_steps, rng):
        """What the loop starts from, and what its steps need.

        Args:
            process: the `Process` that is sampled.
            mask: bool (B, L), the tokens that are drawn.
            num_steps: S, a positive integer.
            rng: NumPy Generator.

        Returns:
            the start, an array of noised tokens or latents; and a dict of arrays (B, S, ...), a
            slice a step: "times" float32, the noise levels in [0, 1], and what `step` needs.

        Raises:
            ValueError: for steps that the process does not have.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement arrays()")

    def step(self, process, now, noised, prediction, clean, previous):
        """One step of the loop; runs inside a compiled function.

        Args:
            process: as above.
            now: dict of this step's slices (B, ...) of what `arrays` gave.
            noised: tokens int32 (B, L) or latents (B, h, w, d).
            prediction: what the network predicts for them.
            clean: the clean tokens or latents drawn from the prediction.
            previous: `clean` of the step before; zeros at the first.

        Returns:
            the noised tokens or latents of the next step.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement step()")

    def trace_key(self):
        """What the compiled `step` depends on besides its arrays; hashable."""
        return self

"""The diffusion prior: a U-Net that makes all of an image's tokens at once, in a few steps."""

import functools

import keras
from keras import layers, ops

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.models.batched_function import BatchedFunction
from keras_regvq.models.priors.diffusion.guidance import denoiser, guidance_arrays
from keras_regvq.models.priors.diffusion.parts import draw_in_parts
from keras_regvq.models.priors.diffusion.processes import get_process, process_config
from keras_regvq.models.priors.diffusion.unet import UNet
from keras_regvq.models.priors.token_choice import random_numbers
from keras_regvq.models.priors.token_grids import side_by_side
from keras_regvq.models.priors.token_prior import TokenPrior


@keras.saving.register_keras_serializable(package="keras_regvq")
class DiffusionPrior(TokenPrior):
    """A U-Net (`unet.UNet`) over the token grid, trained to undo noise.

    Process "discrete" masks and replaces tokens (Gu et al., "Vector Quantized Diffusion Model for
    Text-to-Image Synthesis", 2022); process "gaussian" adds noise to their embeddings (Rombach et
    al., 2022), and needs `set_codebook` first. Logged are, for "discrete", "cross_entropy" of the
    clean tokens and "bits_per_token", the variational bound.

    The condition's prefix is what cross-attention attends to; a part that is aligned with the
    tokens is added to their features. The U-Net's plane has q tokens of a position side by side.

    Args:
        codebook_size: N, the tokenizer's.
        grid: (h, w) or (h, w, q) of the tokens, or one int for both sides.
        process: "discrete", "gaussian", or a `Process` such as `DiscreteProcess(...)`, which has
            its settings by itself.
        channels, channel_multipliers, num_res_blocks, attention_levels, num_heads, dropout: of
            `UNet`.
        condition: None, or a `Condition`.
        condition_dropout: share of the examples whose condition is dropped while training; above
            0 for classifier-free guidance.
        num_timesteps, replace_share: of the discrete chain: `mask_and_replace.MaskAndReplace`.
        variational_weight: of the variational bound beside the cross-entropy, discrete.
        embedding_dim: width of the codebook's embeddings, gaussian.
        seed: of the noise while training.

    Example:
        ```python
        tokens, labels = np.random.default_rng(0).integers(256, size=(8, 4, 4)), np.arange(8)
        condition = keras_regvq.models.ClassCondition(num_classes=8)
        prior = keras_regvq.models.DiffusionPrior(
            256, (4, 4), channels=32, num_res_blocks=1, condition=condition, condition_dropout=0.1
        )
        prior.compile(keras.optimizers.AdamW(5e-4, use_ema=True, ema_momentum=0.999))
        prior.fit({"tokens": tokens, "condition": labels}, batch_size=4, epochs=1)
        sampled = prior.generate(labels[:2], num_steps=4, guidance_scale=2.0, seed=0)  # (2, 4, 4)
        ```
    """

    def __init__(
        self,
        codebook_size,
        grid,
        process="discrete",
        channels=128,
        channel_multipliers=(1, 2),
        num_res_blocks=2,
        attention_levels=(1,),
        num_heads=4,
        dropout=0.0,
        condition=None,
        condition_dropout=0.0,
        num_timesteps=100,
        replace_share=0.1,
        variational_weight=0.01,
        embedding_dim=None,
        seed=None,
        dtype=None,
        name=None,
        trainable=True,
    ):
        common = {"dtype": dtype, "name": name, "trainable": trainable}
        super().__init__(codebook_size, grid, condition, condition_dropout, seed, **common)
        settings = {
            "num_timesteps": num_timesteps,
            "replace_share": replace_share,
            "variational_weight": variational_weight,
            "embedding_dim": embedding_dim,
        }
        self.process, settings = get_process(process, settings, self.dtype_policy)
        sizes = (channels, channel_multipliers, num_res_blocks, attention_levels, num_heads)
        unet = UNet(*sizes, dropout, name="unet", dtype=self.dtype_policy)
        self.keep_settings(**settings, **unet.settings)
        self._create_layers(unet)

    def _create_layers(self, unet):
        policy = {"dtype": self.dtype_policy}
        self.process.build_for(self.codebook_size, self.grid, unet.widths[0])
        width = unet.widths[-1]
        self.create_condition(width)
        self.aligned, context_shape = None, None
        if self.condition is not None:
            context_shape = (None, self.condition.prefix_length, width)
            if self.condition.is_aligned:
                self.aligned = layers.Dense(unet.widths[0], name="aligned", **policy)
                self.aligned.build((None, None, width))
        self.unet = unet
        self.unet.build((None, *side_by_side(self.grid), unet.widths[0]), context_shape)
        self.create_trackers(self.process.logged)
        self.built = True

    def set_codebook(self, codebook):
        """Gaussian: take over the tokenizer's codebook, an array (N, d), before training.

        `TextToImage` and `SemanticToImage` do it by themselves.
        """
        self.process.set_codebook(codebook)

    def call(self, inputs, training=False):
        """Noise a batch at random times, and predict what was there.

        Args:
            inputs: dict of "tokens" int32 (B, h, w), and "condition" where there is one.
            training: drop conditions at random.

        Returns:
            dict of "noised", "times" (B,) and "prediction": for "discrete" int32 (B, h * w) and
            logits float32 (B, h * w, N); for "gaussian" (B, h, w, d), and "velocity" likewise.
        """
        tokens = ops.reshape(ops.cast(inputs["tokens"], "int32"), (-1, self.length))
        batch = ops.shape(tokens)[0]
        # Spread evenly over the batch, which varies the loss less than independent times do.
        seeds = self.seed_generator.for_batch(tokens, training)
        offset = keras.random.uniform((1,), dtype="float32", seed=seeds)
        spread = ops.cast(ops.arange(batch, dtype="int32"), "float32") / ops.cast(batch, "float32")
        times = 1.0 - (offset + spread) % 1.0
        corrupted = self.process.corrupt(tokens, times, seeds)
        dropped = self.draw_condition_dropout(batch) if training else None
        embedded = self.embed_condition(inputs.get("condition"), dropped)
        prediction = self.denoise(corrupted["noised"], corrupted["times"], *embedded, training)
        return {**corrupted, "prediction": prediction}

    def denoise(self, noised, times, prefix=None, aligned=None, mask=None, training=False):
        """The network's prediction for noised tokens or latents at times (B,) in [0, 1].

        Args:
            prefix, aligned, mask: what `embed_condition` gave.
        """
        features = self.process.embed(noised)
        if aligned is not None:
            features = features + self.aligned(aligned)
        features = ops.reshape(features, (-1, *side_by_side(self.grid), self.unet.widths[0]))
        features = self.unet(features, times, prefix, padding_mask=mask, training=training)
        return self.process.predict(features, noised, times)

    def token_losses(self, inputs, outputs):
        """The process's losses by name."""
        return self.process.losses(inputs["tokens"], outputs)

    def check_ready(self):
        self.process.check_ready()

    def generate(
        self,
        condition=None,
        num_samples=None,
        num_steps=25,
        sampler=None,
        guidance_scale=1.0,
        temperature=1.0,
        top_k=None,
        top_p=None,
        eta=0.0,
        negative_condition=None,
        seed=None,
        tokens=None,
        mask=None,
        batch_size=32,
        verbose="auto",
        method=None,
        on_step=None,
    ):
        """Sample tokens.

        Args:
            condition: a batch of what `self.condition` takes; None without one.
            num_samples: how many, for a prior without condition [1].
            num_steps: evaluations of the network; at most `num_timesteps` for "ancestral".
            sampler: "ancestral" (default) or "confidence" (MaskGIT's) for the discrete process;
                "dpm_solver++" (default) or "ddim" for the gaussian one; or a `Sampler`, such as
                `DDIMSampler(eta=0.5)`.
            guidance_scale: classifier-free guidance; 1 is none. Needs a prior that was trained
                with `condition_dropout`, or a negative condition.
            temperature, top_k, top_p: discrete: of the clean tokens that each step draws; as in
                `AutoregressivePrior.generate`.
            eta: sampler "ddim": 0 is deterministic, 1 as random as DDPM.
            negative_condition: what to be guided away from, a batch like `condition`; None: from
                no condition at all.
            seed: int; the same seed gives the same tokens.
            tokens, mask: to regenerate a part: integers (B, *grid) of an image, and bool (B, h, w),
                True where new tokens are to be drawn; all others are kept exactly.
            batch_size: samples drawn at once; random numbers are drawn for all of them before.
            verbose: whether a progress bar shows; "auto": if there are several batches.
            method: an earlier name of `sampler`.
            on_step: called now and then while all samples are drawn at once, with the number of
                steps done and the tokens that the network then takes for the clean ones, (B, h, w).

        Returns:
            NumPy int32 (B, *grid).

        Raises:
            ValueError: for an argument that does not fit.
        """
        self.check_ready()
        if sampler is not None and method is not None:
            refuse("method", repr(method), "None beside `sampler`, of which it is another name")
        argument = "sampler" if method is None else "method"
        options = {"eta": eta} if eta else {}
        sampler = self.process.get_sampler(
            method if sampler is None else sampler, argument, **options
        )
        num_steps = check_positive_integer("num_steps", num_steps)
        batch = self.sampling_batch(condition, num_samples, tokens, mask)
        count = len(batch["tokens"])
        batch.update(guidance_arrays(self, guidance_scale, negative_condition, count))
        choice, top_k = self.process.choice_arrays(count, temperature, top_k, top_p)
        rng = random_numbers(seed)
        arrays = self.process.sampling_arrays(sampler, batch["mask"], num_steps, rng)
        batch.update(choice, **arrays)
        if on_step is not None:
            drawn = draw_in_parts(self, sampler, batch, top_k, on_step)
            return drawn.reshape(-1, *self.grid).astype("int32")
        key = (sampler.trace_key(), top_k, *sorted(batch), *sorted(batch["steps"]))
        if key not in self._samplers:
            sample = functools.partial(self._sample, sampler, top_k)
            self._samplers[key] = BatchedFunction(self, sample, loops=True)
        drawn = self._samplers[key](batch, batch_size, verbose)
        return drawn.reshape(-1, *self.grid).astype("int32")

    def _sample(self, sampler, top_k, batch):
        return self.process.sample(sampler, denoiser(self, batch), batch, top_k)

    def get_config(self):
        return {**super().get_config(), "process": process_config(self.process)}

    @classmethod
    def from_config(cls, config):
        if isinstance(config["process"], dict):
            process = keras.saving.deserialize_keras_object(config["process"])
            config = {**config, "process": process}
        return super().from_config(config)

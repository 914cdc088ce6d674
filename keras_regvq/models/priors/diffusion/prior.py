"""The diffusion prior: a U-Net that makes all of an image's tokens at once, in a few steps."""

import functools

import keras
import numpy as np
from keras import layers, ops

from keras_regvq.checks.arguments import check_choice, check_number, check_positive_integer, refuse
from keras_regvq.models.batched_function import BatchedFunction
from keras_regvq.models.priors.diffusion.discrete import DiscreteProcess
from keras_regvq.models.priors.diffusion.gaussian import GaussianProcess
from keras_regvq.models.priors.diffusion.unet import UNet
from keras_regvq.models.priors.token_choice import choice_arrays
from keras_regvq.models.priors.token_prior import TokenPrior

_DISCRETE = {"num_timesteps", "replace_share", "variational_weight"}


@keras.saving.register_keras_serializable(package="keras_regvq")
class DiffusionPrior(TokenPrior):
    """A U-Net (`unet.UNet`) over the token grid, trained to undo noise.

    Process "discrete" masks and replaces tokens (Gu et al., "Vector Quantized Diffusion Model for
    Text-to-Image Synthesis", 2022); process "gaussian" adds noise to their embeddings (Rombach et
    al., 2022), and needs `set_codebook` first. Logged are, for "discrete", "cross_entropy" of the
    clean tokens and "bits_per_token", the variational bound.

    The condition's prefix is what cross-attention attends to; a part that is aligned with the
    tokens is added to their features.

    Args:
        codebook_size: N, the tokenizer's.
        grid: (h, w) of the tokens, or one int for both.
        process: "discrete" or "gaussian".
        channels, channel_multipliers, num_res_blocks, attention_levels, num_heads, dropout: of
            `UNet`.
        condition: None, or a `Condition`.
        condition_dropout: share of the examples whose condition is hidden while training; above 0
            for classifier-free guidance.
        num_timesteps, replace_share: of the discrete chain: `mask_and_replace.MaskAndReplace`.
        variational_weight: of the variational bound beside the cross-entropy, discrete.
        embedding_dim: width of the codebook's embeddings, gaussian.
        seed: of the noise while training.

    Example:
        condition = ClassCondition(num_classes=10)
        prior = DiffusionPrior(256, (16, 16), condition=condition, condition_dropout=0.1)
        prior.compile(keras.optimizers.AdamW(5e-4, use_ema=True, ema_momentum=0.999))
        prior.fit({"tokens": tokens, "condition": classes}, batch_size=16, epochs=10)
        tokens = prior.generate(classes[:4], num_steps=25, guidance_scale=2.0, seed=0)
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
        check_choice("process", process, ("discrete", "gaussian"))
        if process == "gaussian":
            check_positive_integer("embedding_dim", embedding_dim)
        elif embedding_dim is not None:
            refuse("embedding_dim", embedding_dim, 'None with process "discrete"')
        common = {"dtype": dtype, "name": name, "trainable": trainable}
        super().__init__(codebook_size, grid, condition, condition_dropout, seed, **common)
        sizes = (channels, channel_multipliers, num_res_blocks, attention_levels, num_heads)
        unet = UNet(*sizes, dropout, name="unet", dtype=self.dtype_policy)
        settings = {
            "process": process,
            "num_timesteps": check_positive_integer("num_timesteps", num_timesteps),
            "replace_share": check_number("replace_share", replace_share, 0, 0.99),
            "variational_weight": check_number("variational_weight", variational_weight),
            "embedding_dim": embedding_dim,
        }
        self.settings.update({**settings, **unet.settings})
        self._create_layers(unet)

    def _create_layers(self, unet):
        settings, policy = self.settings, {"dtype": self.dtype_policy}
        sizes = (self.codebook_size, self.grid, unet.widths[0])
        if settings["process"] == "discrete":
            chain = {name: settings[name] for name in _DISCRETE}
            self.process = DiscreteProcess(*sizes, **chain, name="process", **policy)
        else:
            self.process = GaussianProcess(
                *sizes, settings["embedding_dim"], name="process", **policy
            )
        width = unet.widths[-1]
        self.create_condition(width)
        self.aligned, context_shape = None, None
        if self.condition is not None:
            context_shape = (None, self.condition.prefix_length, width)
            if self.condition.is_aligned:
                self.aligned = layers.Dense(unet.widths[0], name="aligned", **policy)
                self.aligned.build((None, None, width))
        self.unet = unet
        self.unet.build((None, *self.grid, unet.widths[0]), context_shape)
        self.create_trackers(self.process.logged)
        self.built = True

    def set_codebook(self, codebook):
        """Gaussian: take over the tokenizer's codebook, an array (N, d), before training.

        `TextToImage` and `SemanticToImage` do it by themselves.
        """
        if self.settings["process"] == "gaussian":
            self.process.set_codebook(codebook)

    def call(self, inputs, training=False):
        """Noise a batch at random times, and predict what was there.

        Args:
            inputs: dict of "tokens" int32 (B, h, w), and "condition" where there is one.
            training: hide conditions at random.

        Returns:
            dict of "noised", "times" (B,) and "prediction": for "discrete" int32 (B, h * w) and
            logits float32 (B, h * w, N); for "gaussian" (B, h, w, d), and "velocity" likewise.
        """
        tokens = ops.reshape(ops.cast(inputs["tokens"], "int32"), (-1, self.length))
        batch = ops.shape(tokens)[0]
        # Spread evenly over the batch, which varies the loss less than independent times do.
        offset = keras.random.uniform((1,), dtype="float32", seed=self.seed_generator)
        spread = ops.cast(ops.arange(batch, dtype="int32"), "float32") / ops.cast(batch, "float32")
        times = 1.0 - (offset + spread) % 1.0
        corrupted = self.process.corrupt(tokens, times, self.seed_generator)
        hidden = self.hide_some(batch) if training else None
        embedded = self.embed_condition(inputs.get("condition"), hidden)
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
        features = ops.reshape(features, (-1, *self.grid, self.unet.widths[0]))
        features = self.unet(features, times, prefix, padding_mask=mask, training=training)
        return self.process.predict(features, noised, times)

    def token_losses(self, inputs, outputs):
        """The process's losses by name."""
        return self.process.losses(inputs["tokens"], outputs)

    def check_ready(self):
        if self.settings["process"] == "gaussian" and not ops.any(self.process.codebook != 0):
            refuse("codebook", "none yet", "set_codebook(tokenizer.quantizer.codes()) first")

    def generate(
        self,
        condition=None,
        num_samples=None,
        num_steps=25,
        method=None,
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
    ):
        """Sample tokens.

        Args:
            condition: a batch of what `self.condition` takes; None without one.
            num_samples: how many, for a prior without condition [1].
            num_steps: evaluations of the network; at most `num_timesteps` for "ancestral".
            method: "ancestral" (default) or "confidence" for the discrete process; "dpm_solver++"
                (default) or "ddim" for the gaussian one.
            guidance_scale: classifier-free guidance; 1 is none. Needs a prior that was trained
                with `condition_dropout`, or a negative condition.
            temperature, top_k, top_p: discrete: of the clean tokens that each step draws; as in
                `AutoregressivePrior.generate`.
            eta: ddim: 0 is deterministic, 1 as random as DDPM.
            negative_condition: what to be guided away from, a batch like `condition`; None: from
                no condition at all.
            seed: int; the same seed gives the same tokens.
            tokens, mask: to regenerate a part: integers (B, h, w) of an image, and bool (B, h, w),
                True where new tokens are to be drawn; all others are kept exactly.
            batch_size: samples drawn at once.
            verbose: whether a progress bar shows; "auto": if there are several batches.

        Returns:
            NumPy int32 (B, h, w).

        Raises:
            ValueError: for an argument that does not fit.
        """
        self.check_ready()
        methods, discrete = self.process.methods, self.settings["process"] == "discrete"
        method = check_choice("method", methods[0] if method is None else method, methods)
        num_steps = check_positive_integer("num_steps", num_steps)
        if method == "ancestral" and num_steps > self.settings["num_timesteps"]:
            refuse(
                "num_steps", num_steps, f"at most num_timesteps={self.settings['num_timesteps']}"
            )
        batch = self.sampling_batch(condition, num_samples, tokens, mask)
        count = len(batch["tokens"])
        batch.update(self._guidance(guidance_scale, negative_condition, count))
        options = {}
        if discrete:
            sampling, top_k = choice_arrays(self.codebook_size, count, temperature, top_k, top_p)
            batch.update(sampling)
        elif (temperature, top_k, top_p) != (1.0, None, None):
            refuse("temperature, top_k, top_p", (temperature, top_k, top_p), "for discrete priors")
        if method == "ddim":
            options["eta"] = check_number("eta", eta, 0, 1)
        elif eta:
            refuse("eta", eta, '0 but for method "ddim"')
        rng = np.random.default_rng(seed)
        batch.update(self.process.sampling_arrays(method, num_steps, batch["mask"], rng, **options))
        key = (top_k, *sorted(batch))
        if key not in self._samplers:
            self._samplers[key] = BatchedFunction(self, functools.partial(self._sample, top_k))
        drawn = self._samplers[key](batch, batch_size, verbose)
        return drawn.reshape(-1, *self.grid).astype("int32")

    def _guidance(self, scale, negative, count):
        """The arrays of classifier-free guidance, none if there is none."""
        scale = check_number("guidance_scale", scale)
        if negative is not None:
            if self.condition is None:
                refuse("negative_condition", "one", "None for a prior without condition")
            negative = self.condition.check(negative, "negative_condition")
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
            self.check_guidable(scale)
        return arrays

    def _sample(self, top_k, batch):
        size, condition, hidden = ops.shape(batch["tokens"])[0], batch.get("condition"), None
        guided = "guidance" in batch
        if guided:
            other = batch.get("negative_condition", condition)
            condition = ops.concatenate([condition, other])
            if "negative_condition" not in batch:
                hidden = ops.arange(2 * size, dtype="int32") >= size
        embedded = self.embed_condition(condition, hidden)

        def denoise(noised, times):
            if not guided:
                return self.denoise(noised, times, *embedded)
            noised, times = (ops.concatenate([value, value]) for value in (noised, times))
            both = self.denoise(noised, times, *embedded)
            wanted, unwanted = both[:size], both[size:]
            scale = ops.reshape(batch["guidance"], (-1,) + (1,) * (len(both.shape) - 1))
            return unwanted + scale * (wanted - unwanted)

        return self.process.sample(denoise, batch, top_k)

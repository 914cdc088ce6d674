"""The autoregressive prior: a transformer that predicts an image's tokens one after the other."""

import functools
import math

import keras
import numpy as np
from keras import layers, ops

from keras_regvq.checks.arguments import check_choice, check_number, check_positive_integer, refuse
from keras_regvq.models.batched_function import BatchedFunction
from keras_regvq.models.layers.grid_positions import GridPositions
from keras_regvq.models.priors.autoregressive.decoder_block import DecoderBlock
from keras_regvq.models.priors.autoregressive.sampling import sample_tokens
from keras_regvq.models.priors.prior_training import token_loss
from keras_regvq.models.priors.token_choice import choice_arrays, guidance_scales, random_numbers
from keras_regvq.models.priors.token_prior import TokenPrior


@keras.saving.register_keras_serializable(package="keras_regvq")
class AutoregressivePrior(TokenPrior):
    """A decoder-only transformer over image tokens in raster order.

    The sequence is [condition prefix, start, token 0, ..., token L - 2]; the last L outputs
    predict tokens 0 to L - 1, and the loss counts these alone. Each image input carries the
    learned row and column (of q tokens a position the stage, too) of the token that it predicts.
    Esser et al., "Taming Transformers for High-Resolution Image Synthesis" (2021), with the
    condition's patch embedding as a choice beside its tokens. Blocks are KerasHub's pre-norm
    `TransformerDecoder` with GELU.

    Args:
        codebook_size: N, the tokenizer's.
        grid: (h, w) or (h, w, q) of the tokens, or one int for both sides.
        num_layers, num_heads, hidden_dim: sizes of the transformer.
        condition: None, or a `ClassCondition`, `LabelMapCondition` or `TokenizedMapCondition`.
        dropout: rate in the blocks while training. (Keras does not save dropout's random state.)
        keep_probability: share of the input tokens that are kept while training; the others are
            replaced by random ones, so that the prior learns to go on from its own mistakes
            (taming's `pkeep`).
        condition_dropout: share of the examples whose condition is dropped while training; above 0
            for classifier-free guidance.
        gradient_checkpointing: compute each block again in the backward pass instead of keeping
            its activations; needs dropout 0.
        seed: of the two random choices.
        position_embedding: "factorized", a vector a row and one a column, or "full", one a token.
        activation: "gelu_tanh" (GPT-2's) or "gelu" (with the error function).

    Example:
        ```python
        tokens, labels = np.random.default_rng(0).integers(256, size=(8, 4, 4)), np.arange(8)
        condition = keras_regvq.models.ClassCondition(num_classes=8)
        prior = keras_regvq.models.AutoregressivePrior(
            256, (4, 4), 2, 4, 64, condition, condition_dropout=0.1
        )
        prior.compile()
        prior.fit({"tokens": tokens, "condition": labels}, batch_size=4, epochs=1)
        sampled = prior.generate(labels[:2], guidance_scale=1.5, seed=0)  # int32 (2, 4, 4)
        ```
    """

    def __init__(
        self,
        codebook_size,
        grid,
        num_layers=12,
        num_heads=8,
        hidden_dim=512,
        condition=None,
        dropout=0.0,
        keep_probability=1.0,
        condition_dropout=0.0,
        gradient_checkpointing=False,
        seed=None,
        position_embedding="factorized",
        activation="gelu_tanh",
        dtype=None,
        name=None,
        trainable=True,
    ):
        sizes = {
            "num_layers": check_positive_integer("num_layers", num_layers),
            "num_heads": check_positive_integer("num_heads", num_heads),
            "hidden_dim": check_positive_integer("hidden_dim", hidden_dim),
            "dropout": check_number("dropout", dropout, 0, 1),
            "keep_probability": check_number("keep_probability", keep_probability, 0, 1),
            "gradient_checkpointing": bool(gradient_checkpointing),
            "position_embedding": position_embedding,
            "activation": activation,
        }
        check_choice("position_embedding", position_embedding, ("factorized", "full"))
        check_choice("activation", activation, ("gelu_tanh", "gelu"))
        if hidden_dim % num_heads:
            refuse("num_heads", num_heads, f"a divisor of hidden_dim={hidden_dim}")
        if gradient_checkpointing and dropout:
            refuse("dropout", dropout, "0 with gradient_checkpointing")
        super().__init__(
            codebook_size,
            grid,
            condition,
            condition_dropout,
            seed,
            dtype=dtype,
            name=name,
            trainable=trainable,
        )
        self.keep_settings(**sizes)
        self._create_layers(self.dtype_policy)

    def _create_layers(self, policy):
        width, small = self.hidden_dim, keras.initializers.RandomNormal(stddev=0.02)
        # One more than there are codes: the last entry is the start.
        self.embedding = layers.Embedding(
            self.codebook_size + 1, width, small, name="embedding", dtype=policy
        )
        self.embedding.build()
        factorized = self.position_embedding == "factorized"
        self.positions = GridPositions(self.grid, width, factorized, name="positions", dtype=policy)
        self.positions.build()
        # After the embedding: files of weights count layers of one class in this order.
        self.prefix_length = 0
        self.create_condition(width)
        if self.condition is not None:
            self.prefix_length = self.condition.prefix_length
        self.blocks = [
            DecoderBlock(
                width,
                self.num_heads,
                self.dropout,
                self.activation,
                name=f"block_{index}",
                dtype=policy,
            )
            for index in range(self.num_layers)
        ]
        for block in self.blocks:
            block.build((None, self.prefix_length + self.length, width))
        self.norm = layers.LayerNormalization(epsilon=1e-5, name="norm", dtype=policy)
        self.norm.build((None, None, width))
        # Logits decide what is sampled: float32 under any policy.
        self.head = layers.Dense(
            self.codebook_size,
            use_bias=False,
            kernel_initializer=small,
            name="head",
            dtype="float32",
        )
        self.head.build((None, None, width))
        self.create_trackers(("bits_per_token",))
        self.built = True

    def token_losses(self, inputs, outputs):
        """Mean cross-entropy of the tokens: "loss" in nats, "bits_per_token" in bits."""
        loss = token_loss(inputs["tokens"], outputs)
        return {"loss": loss, "bits_per_token": loss / math.log(2)}

    def call(self, inputs, training=False):
        """Logits of every token, each given the tokens before it.

        Args:
            inputs: dict of "tokens" int32 (B, h, w), and "condition" where there is one.
            training: replace tokens and drop conditions at random.

        Returns:
            float32 (B, h * w, N).
        """
        tokens = ops.reshape(ops.cast(inputs["tokens"], "int32"), (-1, self.length))
        batch = ops.shape(tokens)[0]
        dropped = None
        if training:
            tokens, dropped = self._replace_randomly(tokens), self.draw_condition_dropout(batch)
        start = ops.full((batch, 1), self.codebook_size, dtype="int32")
        previous = ops.concatenate([start, tokens[:, :-1]], axis=1)
        x = self.positions(self.embedding(previous))
        prefix, aligned, _ = self.embed_condition(inputs.get("condition"), dropped)
        if aligned is not None:
            x = x + aligned
        if prefix is not None:
            x = ops.concatenate([prefix, x], axis=1)
        for block in self.blocks:
            run = functools.partial(block, training=training)
            x = keras.remat(run)(x) if self.gradient_checkpointing else run(x)
        return self.head(self.norm(x[:, self.prefix_length :]))

    def _replace_randomly(self, tokens):
        if self.keep_probability == 1:
            return tokens
        uniform = keras.random.uniform(ops.shape(tokens), dtype="float32", seed=self.seed_generator)
        others = keras.random.randint(
            ops.shape(tokens), 0, self.codebook_size, dtype="int32", seed=self.seed_generator
        )
        return ops.where(uniform < self.keep_probability, tokens, others)

    def generate(
        self,
        condition=None,
        num_samples=None,
        temperature=1.0,
        top_k=None,
        top_p=None,
        guidance_scale=1.0,
        guidance_schedule="constant",
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
            temperature: divides the logits; 0 takes the likeliest token.
            top_k: draw from the k likeliest tokens only.
            top_p: draw from the likeliest tokens that together have this probability.
            guidance_scale: classifier-free guidance; 1 is none. Needs a prior that was trained
                with `condition_dropout`.
            guidance_schedule: "constant", "linear", "cosine" or a function: `guidance_scales`.
            seed: int; the same seed gives the same tokens.
            tokens, mask: to regenerate a part: integers (B, *grid) of an image, and bool (B, h, w),
                True where new tokens are to be drawn; all others are kept exactly.
            batch_size: samples drawn at once.
            verbose: whether a progress bar shows; "auto": if there are several batches.

        Returns:
            NumPy int32 (B, *grid).

        Raises:
            ValueError: for an argument that does not fit.
        """
        batch = self.sampling_batch(condition, num_samples, tokens, mask)
        count = len(batch["tokens"])
        sampling, top_k = choice_arrays(self.codebook_size, count, temperature, top_k, top_p)
        batch.update(sampling)
        scales = guidance_scales(guidance_scale, guidance_schedule, self.length)
        guided = bool((scales != 1).any())
        if guided:
            self.check_guidable(guidance_scale)
            batch["guidance"] = np.broadcast_to(scales, (count, self.length))
        batch["uniform"] = random_numbers(seed).random((count, self.length), dtype="float32")

        key = (top_k, *sorted(batch))
        if key not in self._samplers:
            self._samplers[key] = BatchedFunction(
                self, functools.partial(sample_tokens, self, top_k=top_k), loops=True
            )
        drawn = self._samplers[key](batch, batch_size, verbose)
        return drawn.reshape(-1, *self.grid).astype("int32")

"""Residual quantization: each stage quantizes what the stages before it have left."""

import keras
from keras import ops

from keras_regvq.checks.arguments import check_integer, check_number, refuse
from keras_regvq.checks.arrays import check_tokens, describe
from keras_regvq.quantizers.finite_scalar import FiniteScalarQuantizer
from keras_regvq.quantizers.lookup_free import LookupFreeQuantizer
from keras_regvq.quantizers.quantizer import Quantizer
from keras_regvq.quantizers.sampling import SamplingQuantizer

MOST_STAGES = 256  # more are no quantizer, but a damaged file


@keras.saving.register_keras_serializable(package="keras_regvq")
class ResidualQuantizer(Quantizer):
    """RQ: q codes a position, of which each is added to the sum of those before it.

    Stage s = 1, ..., q quantizes r_{s-1} and leaves r_s, with r_0 = e the feature:

        z_s = Q_s(r_{s-1}),    r_s = r_{s-1} - sg(z_s),    z = z_1 + ... + z_q

    The losses are the sums over the stages of those that each gives for its own r_{s-1}. Of a
    `VectorQuantizer` the commitment is thereby the paper's, sum_s ||e - sg(z_1 + ... + z_s)||^2
    (which its published code averages over s). With its `ema` codes learn as the paper's; a shared
    codebook is moved by what each stage is given, one after the other. Stages that copy the
    decoder's gradient to the features do so once, not q times; of all others the gradients add up.
    Tokens are int32 (B, h, w, q), the first stage first. Lee et al., "Autoregressive Image
    Generation using Residual Quantization" (CVPR 2022), RQ-VAE; Zeghidour et al., "SoundStream"
    (2021).

    Args:
        quantizers: a list of at least two quantizers, each a stage with a codebook of its own; or
            one quantizer, for `num_stages` stages. All have the same number and width of codes.
        num_stages: q, 2 to 256; None: the length of the list.
        shared_codebook: of one quantizer: whether all stages are this one and its one codebook, as
            in RQ-VAE [True], or copies of it, as in SoundStream; a list shares none.
        scale: factor of the codes from each stage to the next: stage s quantizes
            r_{s-1} / scale^(s-1), gives its losses for this, and its code is multiplied by
            scale^(s-1). None: 1, and 1/2 with `LookupFreeQuantizer`, whose codes are -1 and 1.

    Raises:
        ValueError: for stages that do not fit each other, and for those whose codes do not come
            near the features, so that what is left says nothing: FSQ, whose codes are near their
            tanh, and cosine logits, `normalize` and `spherical`, which see directions alone.

    Attributes:
        stages: the q quantizers, in order.
        tokens_per_position: q.
        codebook_size, num_codebooks: N of each stage; how many codebooks there are, 1 or q.

    Example:
        ```python
        quantizer = keras_regvq.quantizers.VectorQuantizer(codebook_size=256, embedding_dim=8)
        residual = keras_regvq.quantizers.ResidualQuantizer(quantizer, num_stages=4)
        result = residual(keras.random.normal((2, 4, 4, 8)), training=True)
        result["tokens"].shape  # (2, 4, 4, 4)
        coarse = residual.embed(result["tokens"][..., :2])  # (2, 4, 4, 8)
        ```
    """

    same_width = True

    def __init__(self, quantizers, num_stages=None, shared_codebook=None, scale=None, **kwargs):
        listed = isinstance(quantizers, (list, tuple))
        given = list(quantizers) if listed else [quantizers]
        for quantizer in given:
            _check_stage(quantizer)
        if listed and (len(given) < 2 or len({id(quantizer) for quantizer in given}) < len(given)):
            refuse("quantizers", f"{len(given)} in a list", "at least two, each another one")
        if listed and shared_codebook:
            refuse("shared_codebook", "True, with a list", "None; or one quantizer to be shared")
        num_stages = len(given) if num_stages is None else num_stages
        if check_integer("num_stages", num_stages, 2) > MOST_STAGES:
            refuse("num_stages", num_stages, f"at most {MOST_STAGES}")
        if listed and num_stages != len(given):
            refuse("num_stages", num_stages, f"{len(given)}, as many as there are quantizers")
        for fact in ("codebook_size", "embedding_dim"):
            if len(values := {getattr(quantizer, fact) for quantizer in given}) > 1:
                refuse("quantizers", f"stages of {fact} {sorted(values)}", "the same one for all")
        super().__init__(given[0].codebook_size, given[0].embedding_dim, **kwargs)
        if scale is None:
            scale = 0.5 if any(isinstance(one, LookupFreeQuantizer) for one in given) else 1.0
        self.scale = check_number("scale", scale)
        if self.scale == 0:
            refuse("scale", scale, "a number above 0")
        self.num_stages = self.tokens_per_position = num_stages
        self.shared_codebook = not listed if shared_codebook is None else bool(shared_codebook)
        self.num_codebooks = 1 if self.shared_codebook else num_stages
        self.quantizers = given if listed else quantizers
        if self.shared_codebook:
            self.stages = given * num_stages
        else:
            self.stages = given + [_copy(given[0], n) for n in range(len(given), num_stages)]
        self.scales = tuple(self.scale**number for number in range(num_stages))
        names = [name for stage in self.stages for name in stage.loss_names]
        self.loss_names = tuple(dict.fromkeys(names))

    def build(self, input_shape):
        super().build(input_shape)
        for number, stage in enumerate(self.stages):
            if not stage.built:
                # Keras's PyTorch backend finds weights by their paths: no two may have the same.
                with keras.name_scope(f"stage_{number}"):
                    stage.build(input_shape)

    def codes(self):
        """The codes of every stage as they are added, float32 (q, N, d)."""
        pairs = zip(self.stages, self.scales, strict=True)
        return ops.stack([scale * stage.codes() for stage, scale in pairs])

    def embed(self, tokens):
        """Sums of codes (..., d), of tokens (..., k): those of the first k stages, 1 <= k <= q.

        Fewer stages than all give a coarser feature. Tokens are integers in [0, N); of arrays and
        lists (B, h, w, k).
        """
        tokens = self.checked_tokens(tokens)
        count = tokens.shape[-1] if len(tokens.shape) else 0
        if count is None:
            return self._embed_some(tokens)
        if not 1 <= count <= self.num_stages:
            refuse("tokens", describe(tokens), f"1 to {self.num_stages} tokens in the last axis")
        pairs = zip(self.stages, self.scales, range(count), strict=False)
        return sum(scale * stage.embed(tokens[..., number]) for stage, scale, number in pairs)

    def _embed_some(self, tokens):
        """`embed` of a number of stages that is not known yet: those that are not there add 0.

        TensorFlow compiles one function for all numbers of stages that it has seen.
        """
        absent = -ops.ones_like(tokens[..., :1])
        tokens, total = ops.concatenate([tokens, *[absent] * self.num_stages], axis=-1), 0.0
        for number, (stage, scale) in enumerate(zip(self.stages, self.scales, strict=True)):
            chosen = tokens[..., number]
            code = scale * stage.embed(ops.maximum(chosen, 0))
            total = total + ops.where(chosen[..., None] >= 0, code, 0.0)
        return total

    def check_tokens(self, argument, tokens):
        shape = f"(B, h, w, {self.num_stages})"
        tokens = check_tokens(argument, tokens, self.codebook_size, shape)
        if tokens.shape[-1] > self.num_stages:
            refuse(argument, describe(tokens), f"shape {shape}, or fewer stages")
        return tokens

    def call(self, features, training=False):
        """Quantize features stage by stage.

        Args:
            features: float (B, h, w, d).
            training: draw samples where a stage does so.

        Returns:
            what `Quantizer.call` returns, with "tokens", "best_tokens" and "mask" (B, h, w, q);
            "perturbation" (B, h, w) is of the sums.
        """
        self.flatten_grid(features)
        left, total, copied = ops.cast(features, "float32"), 0.0, False
        tokens, masks, losses = [], [], dict.fromkeys(self.loss_names, 0.0)
        for stage, scale in zip(self.stages, self.scales, strict=True):
            result = stage(left / scale, training=training)
            code = scale * result["embeddings"]
            left = left - ops.stop_gradient(code)
            # The code of a later stage that copies the gradient would only copy it once more.
            total = total + (ops.stop_gradient(code) if copied and stage.copies_gradient else code)
            copied = copied or stage.copies_gradient
            tokens.append(result["tokens"])
            masks.append(result["mask"])
            for name, loss in result["losses"].items():
                losses[name] = losses[name] + loss
        tokens = best = ops.stack(tokens, axis=-1)
        difference = ops.zeros_like(total)
        if training and any(isinstance(stage, SamplingQuantizer) for stage in self.stages):
            # What another code was drawn before has left is not what there is at inference.
            best = self.best_tokens(features)
            difference = ops.stop_gradient(self.embed(tokens) - self.embed(best))
        return {
            "embeddings": total,
            "tokens": tokens,
            "best_tokens": best,
            "mask": ops.stack(masks, axis=-1),
            "perturbation": ops.sum(ops.square(difference), axis=-1),
            "losses": losses,
        }

    def best_tokens(self, features):
        self.flatten_grid(features)
        return self._tokens("best_tokens", ops.cast(features, "float32"))

    def exported_tokens(self, features):
        return self._tokens("exported_tokens", features)

    def _tokens(self, method, left):
        tokens = []
        for stage, scale in zip(self.stages, self.scales, strict=True):
            tokens.append(getattr(stage, method)(left / scale))
            left = left - scale * stage.embed(tokens[-1])
        return ops.stack(tokens, axis=-1)

    def compute_output_spec(self, features, training=False):
        spec = super().compute_output_spec(features, training)
        for name in ("tokens", "best_tokens", "mask"):
            shape = (*spec[name].shape, self.num_stages)
            spec[name] = keras.KerasTensor(shape, spec[name].dtype)
        return spec

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        given = self.quantizers
        listed = isinstance(given, list)
        return {
            **super().get_config(),
            "quantizers": [serialize(one) for one in given] if listed else serialize(given),
            "num_stages": self.num_stages,
            "shared_codebook": self.shared_codebook,
            "scale": self.scale,
        }

    @classmethod
    def from_config(cls, config):
        deserialize, given = keras.saving.deserialize_keras_object, config["quantizers"]
        listed = isinstance(given, list)
        made = [deserialize(one) for one in given] if listed else deserialize(given)
        return cls(**{**config, "quantizers": made})


def _copy(quantizer, number):
    """A quantizer of the same settings for another stage, with weights and draws of its own."""
    config = quantizer.get_config()
    for settings in (config, (config.get("codebook_initializer") or {}).get("config", {})):
        if isinstance(settings.get("seed"), int):
            settings["seed"] += number
    return type(quantizer).from_config({**config, "name": f"{config['name']}_{number}"})


def _check_stage(quantizer):
    if not isinstance(quantizer, Quantizer):
        refuse("quantizers", describe(quantizer), "one Quantizer, or a list of them")
    kind = type(quantizer).__name__
    if quantizer.tokens_per_position > 1:
        refuse("quantizers", f"a {kind} as a stage", "quantizers of one token a position")
    if isinstance(quantizer, FiniteScalarQuantizer):
        received = f"a {kind}, whose codes are near the tanh of the features, not the features"
        refuse("quantizers", received, "another quantizer, or more `levels` in place of stages")
    for name, value in (("normalize", True), ("logits", "cosine"), ("spherical", True)):
        if getattr(quantizer, name, None) == value:
            received = f"a {kind} with {name}={value!r}, which sees what is left without its length"
            refuse("quantizers", received, f"stages with another {name}")

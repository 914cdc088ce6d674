"""Options of a tokenizer and its quantizer, and what is built of them."""

import keras_regvq
from shared.options import above_zero, integer, number, option


def add_tokenizer_options(parser):
    model = parser.add_argument_group("tokenizer")
    option(
        model, "--preset", None,
        "start from a preset, which saves most of the training where the images are alike; the "
        "options of this group are then unused", type=str,
    )  # fmt: skip
    option(model, "--image-channels", 3, "1 for grey, 3 for RGB, 4 for RGB and opacity",
           choices=(1, 3, 4))  # fmt: skip
    option(model, "--patch-size", 4, "side of the patches of the first level; 1: VQ-GAN's network")
    option(model, "--base-channels", 128, "channels of the first level")
    option(model, "--channel-multipliers", [1], "one a level", nargs="+", type=integer(1))
    option(model, "--num-res-blocks", 0, "residual blocks a level, besides two in the middle")
    option(model, "--attention-resolutions", [], "feature map heights", nargs="*", type=integer(1))
    option(model, "--middle-attention", False, "attention at the lowest resolution",
           action="store_true")  # fmt: skip
    option(model, "--latent-channels", 64, "channels around the quantizer")

    quantizer = parser.add_argument_group("quantizer (unused with --preset)")
    option(quantizer, "--quantizer", "regvq", "method",
           choices=("regvq", "vqgan", "gumbelvq", "fsq", "simvq", "lfq", "bsq", "ibq",
                    "residual"))  # fmt: skip
    option(quantizer, "--codebook-size", 256,
           "codes, of residual those of a stage (fsq: the product of --levels; lfq, bsq: 2 to the "
           "power of --bits)")  # fmt: skip
    option(quantizer, "--embedding-dim", 16,
           "width of a code (fsq: the number of --levels; lfq, bsq: --bits)")  # fmt: skip
    option(
        quantizer,
        "--levels",
        [8, 5, 5, 5],
        "fsq: levels of each channel",
        nargs="+",
        type=integer(2),
    )
    option(quantizer, "--bits", 8, "lfq, bsq: bits of a token")
    option(quantizer, "--stages", 4, "residual: tokens a position, of vqgan's quantizer each")
    option(quantizer, "--own-codebooks", False,
           "residual: a codebook a stage, in place of one for all",
           action="store_true")  # fmt: skip
    option(quantizer, "--rotation-trick", False,
           "vqgan, simvq, residual: rotate the decoder's gradient",
           action="store_true")  # fmt: skip
    option(quantizer, "--normalize", False,
           "vqgan, simvq, residual: features and codes of length 1",
           action="store_true")  # fmt: skip
    option(quantizer, "--codebook-ema", None,
           "vqgan: codes are moving averages of features, of this decay, such as 0.99",
           type=number(0, 1))  # fmt: skip
    option(quantizer, "--codebook-start", None, "vqgan: codes from the first batch's features",
           type=str, choices=("sampled", "kmeans"))  # fmt: skip
    option(quantizer, "--dead-code-threshold", 0.0,
           "vqgan: replace codes that fewer positions of a batch choose, on average")  # fmt: skip
    option(quantizer, "--projection-dim", None,
           "vqgan: width that features and codes are compared in, such as 8",
           type=integer(1))  # fmt: skip
    option(quantizer, "--logits", "cosine", "regvq, gumbelvq: linear is the paper's",
           choices=("linear", "cosine"))  # fmt: skip
    option(quantizer, "--dither", 0.0,
           "regvq, gumbelvq with cosine logits: 0.3 for fine colours on flat ground")  # fmt: skip
    option(quantizer, "--mask-ratio", 0.4, "regvq: share of sampled positions")
    option(quantizer, "--prior-weight", 0.01, "regvq: weight of the prior on code usage")
    option(quantizer, "--prior-scope", "batch", "regvq", choices=("image", "batch"))
    option(quantizer, "--prior-estimator", "soft", "regvq", choices=("hard", "soft"))
    option(quantizer, "--commitment-weight", 0.25, "vqgan, simvq, lfq, bsq, ibq, residual: beta")
    option(quantizer, "--kl-weight", 5e-4, "gumbelvq: weight of the KL term")
    option(quantizer, "--final-temperature", 1.0,
           "regvq, gumbelvq: anneal from 1 to this, exponentially", type=above_zero)  # fmt: skip


def build_quantizer(args):
    if args.quantizer == "fsq":
        return keras_regvq.quantizers.FiniteScalarQuantizer(args.levels)
    beta = {"commitment_weight": args.commitment_weight}
    if args.quantizer in ("lfq", "bsq"):
        return keras_regvq.quantizers.LookupFreeQuantizer(
            args.bits, spherical=args.quantizer == "bsq", **beta
        )
    size = (args.codebook_size, args.embedding_dim)
    if args.quantizer == "ibq":
        return keras_regvq.quantizers.IndexBackpropagationQuantizer(*size, **beta)
    nearest = {"rotation_trick": args.rotation_trick, "normalize": args.normalize, **beta}
    if args.quantizer == "simvq":
        return keras_regvq.quantizers.SimVQQuantizer(*size, **nearest)
    if args.quantizer == "vqgan":
        return keras_regvq.quantizers.VectorQuantizer(
            *size,
            ema=args.codebook_ema,
            codebook_start=args.codebook_start,
            dead_code_threshold=args.dead_code_threshold,
            projection_dim=args.projection_dim,
            seed=args.seed,
            **nearest,
        )
    if args.quantizer == "residual":
        stage = keras_regvq.quantizers.VectorQuantizer(*size, **nearest)
        return keras_regvq.quantizers.ResidualQuantizer(
            stage, args.stages, shared_codebook=not args.own_codebooks
        )
    sampling = {"logits": args.logits, "dither": args.dither, "seed": args.seed}
    if args.quantizer == "gumbelvq":
        return keras_regvq.quantizers.GumbelQuantizer(*size, kl_weight=args.kl_weight, **sampling)
    return keras_regvq.quantizers.RegularizedQuantizer(
        *size,
        mask_ratio=args.mask_ratio,
        prior_weight=args.prior_weight,
        prior_scope=args.prior_scope,
        prior_estimator=args.prior_estimator,
        **sampling,
    )


def build_tokenizer(args):
    if args.preset:
        return keras_regvq.from_preset(
            args.preset, image_size=args.image_size, dtype=args.precision
        )
    return keras_regvq.models.ImageTokenizer(
        args.image_size,
        build_quantizer(args),
        base_channels=args.base_channels,
        channel_multipliers=args.channel_multipliers,
        num_res_blocks=args.num_res_blocks,
        attention_resolutions=args.attention_resolutions,
        latent_channels=args.latent_channels,
        middle_attention=args.middle_attention,
        image_channels=args.image_channels,
        patch_size=args.patch_size,
    )

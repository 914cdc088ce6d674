"""The optimizers of a tokenizer's two players, by options."""

from shared.options import above_zero, option

RATES = {"muon": 0.02, "adam": 2e-3}


def add_optimizer_options(group):
    option(group, "--optimizer", "muon", "of the tokenizer; a discriminator's is Adam",
           choices=tuple(RATES))  # fmt: skip
    option(group, "--learning-rate", None,
           "at its highest, of muon 0.02, of adam 0.002; Muon leaves a tenth of it to the Adam of "
           "the first and last layers, and to the discriminator's", type=above_zero)  # fmt: skip
    option(group, "--warmup-steps", 0, "steps until it is that high; a cosine takes it down")
    option(group, "--accumulate", 1, "batches a weight update")
    option(group, "--ema", 0.0, "decay of the averaged weights that are kept; 0 for none")


def build_optimizers(args):
    """The tokenizer's optimizer, and the discriminator's or None."""
    import keras

    from keras_regvq.training import Muon

    rate = args.learning_rate
    share = 0.1 if args.optimizer == "muon" else 1.0
    common = {
        "gradient_accumulation_steps": args.accumulate if args.accumulate > 1 else None,
        "use_ema": args.ema > 0,
        "ema_momentum": args.ema or 0.99,
    }
    # VQ-GAN's against an adversary.
    betas = (0.5, 0.9) if args.discriminator else (0.9, 0.999)
    adam = {"beta_1": betas[0], "beta_2": betas[1], **common}
    if args.optimizer == "muon":
        muon = {"adam_beta_1": betas[0], "adam_beta_2": betas[1], "adam_lr_ratio": share}
        optimizer = Muon(_schedule(args, rate), **muon, **common)
    else:
        optimizer = keras.optimizers.Adam(_schedule(args, rate), **adam)
    if not args.discriminator:
        return optimizer, None
    return optimizer, keras.optimizers.Adam(_schedule(args, rate * share), **adam)


def _schedule(args, rate):
    import keras

    # Keras counts batches, not updates, when it asks for a rate.
    warmup = args.warmup_steps
    steps = max(args.steps - warmup, 1)
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(rate, steps, alpha=0.05)
    return keras.optimizers.schedules.CosineDecay(
        rate / warmup, steps, alpha=0.05, warmup_target=rate, warmup_steps=warmup
    )

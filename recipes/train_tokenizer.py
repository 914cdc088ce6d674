"""Train an image tokenizer on your images.

    python recipes/train_tokenizer.py --data folder:photos --image-size 256 --steps 100000 \\
        --features imagenet --discriminator --output runs/photos

    python recipes/train_tokenizer.py --quantizer vqgan --steps 2000   # scenes, small

Writes pictures and logs while it trains, a preset and a report (index.html) at the end.
"""

import math
from pathlib import Path

import keras_regvq
from shared.options import adding_to, command_parser, option
from shared.run_folder import HELP, RunFolder, add_options
from shared.running import ON_RESUME, one_line, run


def parse_arguments(arguments=None):
    parser = command_parser(__doc__ + HELP)
    data = parser.add_argument_group("data")
    option(
        data,
        "--data",
        "scenes",
        "scenes, folder:DIR, ade20k:DIR, cub:DIR, emoji:DIR, ... tfds:NAME",
    )
    option(data, "--image-size", 64, "side in pixels")
    option(data, "--batch-size", 16, "images a step")
    option(data, "--num-examples", None, "use at most so many training images", type=int)
    option(data, "--flip", False, "mirror half of the training images", action="store_true")

    model = parser.add_argument_group("tokenizer")
    option(
        model, "--preset", None, "start from a preset; the options of this group are then unused",
        type=str,
    )  # fmt: skip
    option(model, "--image-channels", 3, "1 for grey, 3 for RGB, 4 for RGB and opacity",
           choices=(1, 3, 4))  # fmt: skip
    option(model, "--base-channels", 32, "channels at full resolution")
    option(model, "--channel-multipliers", [1, 1, 2, 4], "one a level", nargs="+", type=int)
    option(model, "--num-res-blocks", 1, "residual blocks a level")
    option(model, "--attention-resolutions", [], "feature map heights", nargs="*", type=int)
    option(model, "--latent-channels", 64, "channels around the quantizer")

    quantizer = parser.add_argument_group("quantizer (unused with --preset)")
    option(quantizer, "--quantizer", "regvq", "method",
           choices=("regvq", "vqgan", "gumbelvq", "fsq"))  # fmt: skip
    option(quantizer, "--codebook-size", 256, "codes (fsq: the product of --levels)")
    option(quantizer, "--embedding-dim", 64, "width of a code (fsq: the number of --levels)")
    option(quantizer, "--levels", [8, 5, 5, 5], "fsq: levels of each channel", nargs="+", type=int)
    option(quantizer, "--mask-ratio", 0.4, "regvq: share of sampled positions")
    option(quantizer, "--prior-weight", 0.01, "regvq: weight of the prior on code usage")
    option(quantizer, "--prior-scope", "batch", "regvq", choices=("image", "batch"))
    option(quantizer, "--prior-estimator", "soft", "regvq", choices=("hard", "soft"))
    option(quantizer, "--commitment-weight", 0.25, "vqgan: beta")
    option(quantizer, "--kl-weight", 5e-4, "gumbelvq: weight of the KL term")
    option(quantizer, "--final-temperature", 1.0,
           "regvq, gumbelvq: anneal from 1 to this, exponentially")  # fmt: skip

    loss = parser.add_argument_group("losses")
    option(loss, "--l1-weight", 2.0, "mean absolute difference, images in [0, 1]")
    option(loss, "--features", None, "VGG-19 weights: imagenet, or a file", type=str)
    option(loss, "--perceptual-weight", 1.0, "with --features")
    option(loss, "--contrastive", "probabilistic", "with --features",
           choices=("probabilistic", "plain", "none"))  # fmt: skip
    option(loss, "--contrastive-weight", 0.1, "with --features")
    option(loss, "--discriminator", False, "train against a PatchGAN", action="store_true")
    option(loss, "--adversarial-weight", 0.8, "factor of the adaptive weight")
    option(loss, "--discriminator-start", 0, "steps before the discriminator counts")
    option(loss, "--discriminator-ramp", 1000, "steps until it counts fully")

    training = parser.add_argument_group("training")
    option(training, "--steps", 1000, "training steps")
    option(training, "--epoch-steps", 100, "steps between reports and backups")
    option(training, "--learning-rate", 2e-3, "Adam's, decayed by a cosine")
    option(training, "--ema", 0.0, "decay of the averaged weights that are kept; 0 for none")
    option(training, "--precision", "float32", "dtype policy",
           choices=("float32", "mixed_bfloat16", "mixed_float16"))  # fmt: skip
    option(training, "--accumulate", 1, "batches a weight update")
    option(training, "--preset-dtype", "float32", "of the preset's weights",
           choices=("float32", "float16"))  # fmt: skip
    option(training, "--seed", 0, "random seed")
    option(training, "--output", Path("runs/tokenizer"), "directory", type=Path)
    add_options(adding_to(training))
    return parser.parse_args(arguments)


def build_quantizer(args):
    if args.quantizer == "fsq":
        return keras_regvq.quantizers.FiniteScalarQuantizer(args.levels)
    size = (args.codebook_size, args.embedding_dim)
    if args.quantizer == "vqgan":
        return keras_regvq.quantizers.VectorQuantizer(
            *size, commitment_weight=args.commitment_weight
        )
    if args.quantizer == "gumbelvq":
        return keras_regvq.quantizers.GumbelQuantizer(
            *size, kl_weight=args.kl_weight, seed=args.seed
        )
    return keras_regvq.quantizers.RegularizedQuantizer(
        *size,
        mask_ratio=args.mask_ratio,
        prior_weight=args.prior_weight,
        prior_scope=args.prior_scope,
        prior_estimator=args.prior_estimator,
        seed=args.seed,
    )


def build_trainer(args):
    if args.preset:
        tokenizer = keras_regvq.from_preset(args.preset, image_size=args.image_size)
    else:
        tokenizer = keras_regvq.models.ImageTokenizer(
            args.image_size,
            build_quantizer(args),
            base_channels=args.base_channels,
            channel_multipliers=args.channel_multipliers,
            num_res_blocks=args.num_res_blocks,
            attention_resolutions=args.attention_resolutions,
            latent_channels=args.latent_channels,
            image_channels=args.image_channels,
        )
    trainer = keras_regvq.training.TokenizerTrainer(
        tokenizer,
        build_discriminator(tokenizer) if args.discriminator else None,
        load_features(args.features),
        l1_weight=args.l1_weight,
        perceptual_weight=args.perceptual_weight,
        contrastive_weight=args.contrastive_weight,
        contrastive=None if args.contrastive == "none" else args.contrastive,
        adversarial_weight=args.adversarial_weight,
        discriminator_start=args.discriminator_start,
        discriminator_ramp=args.discriminator_ramp,
        seed=args.seed,
    )
    trainer.compile(build_optimizer(args), build_optimizer(args) if args.discriminator else None)
    return trainer


def build_discriminator(tokenizer):
    return keras_regvq.models.PatchDiscriminator(image_channels=tokenizer.image_channels)


def load_features(name):
    """The VGG-19 of the perceptual and the contrastive loss, or None."""
    if name is None:
        return None
    try:
        return keras_regvq.models.VGG19Features(name)
    except (ValueError, OSError, ImportError) as error:
        raise SystemExit(f"error: --features {name}: {one_line(error)}") from error


def build_optimizer(args):
    import keras

    updates = math.ceil(args.steps / args.accumulate)
    return keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(args.learning_rate, updates, alpha=0.05),
        beta_1=0.5 if args.discriminator else 0.9,  # VQ-GAN's against an adversary
        beta_2=0.9 if args.discriminator else 0.999,
        gradient_accumulation_steps=args.accumulate if args.accumulate > 1 else None,
        use_ema=args.ema > 0,
        ema_momentum=args.ema or 0.99,
    )


def training_data(args, channels, step):
    """Shuffled batches without end, from a step on."""
    return keras_regvq.data.load(
        args.data,
        image_size=args.image_size,
        batch_size=args.batch_size,
        num_examples=args.num_examples,
        seed=args.seed,
        from_step=step,
        flip=args.flip,
        channels=channels,
    )


def settings(args, trainer):
    """dict of what a report says: of the model what it is, of the options those that counted."""
    import keras

    tokenizer = trainer.tokenizer.get_config()
    quantizer = tokenizer["quantizer"]
    model = {**tokenizer, "quantizer": quantizer["class_name"], **quantizer["config"]}
    shown = ("data", "image_size", "batch_size", "num_examples", "flip", "preset", "features")
    shown += ("discriminator", "final_temperature", "steps", "learning_rate", "ema", "precision")
    shown += ("accumulate", "preset_dtype", "seed")
    losses = ["l1_weight"]
    if args.features:
        losses += ["perceptual_weight", "contrastive", "contrastive_weight"]
    if args.discriminator:
        losses += ["adversarial_weight", "discriminator_start", "discriminator_ramp"]
    facts = {name: getattr(args, name) for name in (*shown, *losses)}
    unsaid = ("name", "trainable", "dtype", "seed", "codebook_initializer", "block_size")
    facts |= {name: value for name, value in model.items() if name not in unsaid}
    facts["backend"] = keras.config.backend()
    return {name: str(value) for name, value in facts.items()}


def main(arguments=None):
    args = parse_arguments(arguments)
    folder = RunFolder(args, "train_tokenizer")
    if folder.is_finished:
        return folder.say_finished()

    import keras

    from keras_regvq.training import (
        CodebookHistogram,
        LowUsageWarning,
        NonFiniteLoss,
        ReconstructionGrid,
        TemperatureSchedule,
    )
    from shared.evaluation import evaluate, write_report
    from shared.held_out import load_part

    keras.utils.set_random_seed(args.seed)
    keras.config.set_dtype_policy(args.precision)

    trainer = build_trainer(args)  # before the data: what it needs may be missing
    channels = trainer.tokenizer.image_channels
    test = load_part(args.data, "test", args.image_size, ("images",), 256, channels)["images"]
    callbacks = [
        NonFiniteLoss(),
        ReconstructionGrid(test[:8], folder.pictures),
        CodebookHistogram(test[:64], folder.pictures),
        LowUsageWarning(patience=5),
    ]
    if args.final_temperature != 1:
        decay = math.log(args.final_temperature) / args.steps
        callbacks.append(TemperatureSchedule(lambda step: math.exp(decay * step)))
    backup = folder.backup
    backup.restore(trainer)  # before TemperatureSchedule asks for the step
    with folder.training():
        trainer.fit(
            training_data(args, channels, folder.step),
            steps_per_epoch=args.epoch_steps,
            epochs=folder.epochs,
            validation_data=test[:64],
            validation_batch_size=args.batch_size,
            callbacks=[*callbacks, backup],
        )
    trainer.tokenizer.save_to_preset(args.output / "preset", args.preset_dtype)

    numbers, tokens = evaluate(trainer.tokenizer, test)
    title, facts = f"Tokenizer of {args.data}", settings(args, trainer)
    page = write_report(
        args.output, title, trainer.tokenizer, test, numbers, tokens, backup.history, facts
    )
    folder.finish()
    print(", ".join(f"{name} {value:.4g}" for name, value in numbers.items()))
    print(f"Report: {page.resolve()}\nPreset: {(args.output / 'preset').resolve()}")
    return numbers


if __name__ == "__main__":
    run(main, ON_RESUME)

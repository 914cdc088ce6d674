"""What the recipes that train a prior share: options from a config, data, training, the report."""

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
from keras_regvq.training.autodiff import convolve_without_copies
from keras_regvq.training.callbacks import EpochPicture
from keras_regvq.training.pictures import curves


class Options:
    """An argument parser whose defaults a TOML file can change.

    Args:
        description: the recipe's docstring.
        output: default of --output.
    """

    def __init__(self, description, output):
        self.parser = argparse.ArgumentParser(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        self.parser.add_argument("--config", type=Path, help="TOML file of the options below")
        self.output = output

    def group(self, name):
        """A function add(name, default, help, **kwargs) that adds options to a group."""
        group = self.parser.add_argument_group(name)

        def add(name, default, help, **kwargs):
            kind = {} if "action" in kwargs else {"type": kwargs.pop("type", type(default))}
            group.add_argument(name, default=default, help=f"{help} [{default}]", **kind, **kwargs)

        return add

    def add_training(self, **defaults):
        """The options of every training; keyword arguments change their defaults."""
        add = self.group("training")
        for name, default, help in (
            ("steps", 3000, "training steps"),
            ("epoch-steps", 100, "steps between reports and backups"),
            ("batch-size", 16, "images a step"),
            ("test-examples", 256, "held-out images that are measured after each report"),
            ("learning-rate", 5e-4, "AdamW's, after a warm-up, decayed by a cosine"),
            ("weight-decay", 0.01, "AdamW's, of the matrices"),
            ("ema", 0.0, "momentum of an average of the weights; 0: none"),
        ):
            add(f"--{name}", defaults.get(name.replace("-", "_"), default), help)
        precisions = ("float32", "mixed_bfloat16", "mixed_float16")
        add("--precision", "float32", "dtype policy", choices=precisions)
        dtypes = ("float32", "float16")
        add("--preset-dtype", "float32", "of the preset's weights", choices=dtypes)
        add("--seed", 0, "random seed")
        add("--output", Path(self.output), "directory", type=Path)
        add("--resume", False, "continue the run in --output", action="store_true")

    def parse(self, arguments):
        """What the command line says goes before what the config says."""
        config = self.parser.parse_known_args(arguments)[0].config
        if config is not None:
            values = {k.replace("-", "_"): v for k, v in tomllib.loads(config.read_text()).items()}
            unknown = set(values) - set(vars(self.parser.parse_args([])))
            if unknown:
                self.parser.error(f"{config} has unknown options: {', '.join(sorted(unknown))}")
            self.parser.set_defaults(**values)
        return self.parser.parse_args(arguments)


def load_data(args, fields, split, num_examples=None, shuffle=False, batch_size=None):
    return keras_regvq.data.load(
        args.data,
        split=split,
        image_size=args.image_size,
        batch_size=batch_size or args.batch_size,
        fields=fields,
        shuffle=shuffle,
        seed=args.seed,
        num_examples=num_examples,
    )


def held_out(args, fields, count):
    """At most `count` test examples, as arrays."""
    batches = list(itertools.islice(load_data(args, fields, "test", count, batch_size=1), count))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in fields}


def training_data(args, fields, model):
    """An endless shuffled dataset of images or, where there is a cache, of their tokens."""
    if args.cache is None:
        return load_data(args, fields, "train", args.num_examples, shuffle=True).repeat()
    import tensorflow as tf

    print("Tokenizing the training images, or reading their tokens ...", flush=True)
    arrays = model.tokenize(load_data(args, fields, "train", args.num_examples), args.cache)
    dataset = tf.data.Dataset.from_tensor_slices(arrays)
    shuffled = dataset.shuffle(len(arrays["tokens"]), seed=args.seed).repeat()
    return shuffled.batch(args.batch_size, drop_remainder=True).prefetch(2)


def compile_model(args, model):
    """AdamW with warm-up and cosine decay."""
    warmup = max(args.steps // 20, 1)
    rate = keras.optimizers.schedules.CosineDecay(
        args.learning_rate / warmup,
        args.steps - warmup,
        alpha=0.02,
        warmup_target=args.learning_rate,
        warmup_steps=warmup,
    )
    convolve_without_copies(model)
    averages = {"use_ema": True, "ema_momentum": args.ema} if args.ema else {}
    model.compile(
        keras.optimizers.AdamW(
            rate, weight_decay=args.weight_decay, beta_2=0.95, global_clipnorm=1.0, **averages
        )
    )


class PaintedPictures(EpochPicture):
    """What the model paints of held-out examples, now and then while it trains."""

    def __init__(self, paint, directory, every):
        super().__init__(directory, "painted", every)
        self.paint = paint

    def picture(self):
        synchronize(self.model)
        return self.paint(self.model)


def train(args, fields, model, paint, title, caption):
    """Fit, write preset and report; an interrupted run goes on.

    Args:
        fields: of the data.
        model: compiled.
        paint: function of the model that gives a PIL image.
        title: of the report.
        caption: of the painted picture in it.

    Returns:
        dict of numbers on the test data.
    """
    backup = backup_directory(args.output, args.resume)
    test = load_data(args, fields, "test", args.test_examples)
    epochs = math.ceil(args.steps / args.epoch_steps)
    history = model.fit(
        training_data(args, fields, model),
        steps_per_epoch=args.epoch_steps,
        epochs=epochs,
        validation_data=test,
        callbacks=[
            keras.callbacks.BackupAndRestore(backup),
            keras.callbacks.CSVLogger(args.output / "log.csv", append=args.resume),
            PaintedPictures(paint, args.output / "pictures", max(epochs // 4, 1)),
        ],
    ).history

    numbers = model.evaluate(test, return_dict=True)
    model.save_to_preset(args.output / "preset", args.preset_dtype)
    facts = {name: str(value) for name, value in vars(args).items()}
    facts["backend"] = keras.backend.backend()
    facts["parameters of the prior"] = f"{model.prior.count_params():,}"
    pictures = {caption: paint(model)}
    if history:
        shown = ["loss", *model.loss_trackers]
        pictures["Training"] = curves(history, {name.replace("_", " "): [name] for name in shown})
    page = write_page(args.output, title, numbers, facts, pictures, history)
    shutil.rmtree(backup, ignore_errors=True)
    print(", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in numbers.items()))
    print(f"Report: {page.resolve()}\nPreset: {(args.output / 'preset').resolve()}")
    return numbers

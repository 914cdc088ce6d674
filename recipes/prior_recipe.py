"""What the recipes that train a prior share: options from a config, data, training, the report."""

import argparse
import itertools
import tomllib
from pathlib import Path

import keras
import numpy as np

import keras_regvq
from evaluation import write_page
from keras_regvq.data.order import array_batches
from keras_regvq.fit_state import synchronize
from keras_regvq.training import NonFiniteLoss
from keras_regvq.training.autodiff import convolve_without_copies
from keras_regvq.training.callbacks import EpochPicture
from keras_regvq.training.pictures import curves
from run_folder import HELP, add_options


class Options:
    """An argument parser whose defaults a TOML file can change.

    Args:
        description: the recipe's docstring.
        output: default of --output.
    """

    def __init__(self, description, output):
        self.parser = argparse.ArgumentParser(
            description=description + HELP, formatter_class=argparse.RawDescriptionHelpFormatter
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
        add_options(add)

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


def load_data(
    args, fields, split, num_examples=None, shuffle=False, batch_size=None, from_step=None
):
    return keras_regvq.data.load(
        args.data,
        split=split,
        image_size=args.image_size,
        batch_size=batch_size or args.batch_size,
        fields=fields,
        shuffle=shuffle,
        seed=args.seed,
        num_examples=num_examples,
        from_step=from_step,
    )


def held_out(args, fields, count):
    """At most `count` test examples, as arrays."""
    batches = list(itertools.islice(load_data(args, fields, "test", count, batch_size=1), count))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in fields}


def training_data(args, fields, model, step):
    """Shuffled batches without end, from a step on: of images or, with a cache, of their tokens."""
    if args.cache is None:
        return load_data(args, fields, "train", args.num_examples, shuffle=True, from_step=step)
    print("Tokenizing the training images, or reading their tokens ...", flush=True)
    arrays = model.tokenize(load_data(args, fields, "train", args.num_examples), args.cache)
    return array_batches(arrays, args.batch_size, args.seed, step)


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


def settings(args, model):
    """dict of what a report says: of the model what it is, of the options those of the training."""
    options = ("data", "image_size", "num_examples", "tokenizer", "condition", "start", "unet")
    options += ("text_encoder", "steps", "batch_size", "learning_rate", "weight_decay", "ema")
    options += ("precision", "preset_dtype", "seed", "cache")
    facts = {name: getattr(args, name) for name in options if hasattr(args, name)}
    if facts.get("start"):
        facts["tokenizer"] = facts["text_encoder"] = f"of {args.start}"
    unsaid = ("name", "trainable", "dtype", "seed", "condition")
    config = model.prior.get_config().items()
    facts |= {name: value for name, value in config if name not in unsaid}
    return {name: str(value) for name, value in facts.items()}


def train(args, fields, model, paint, title, caption, folder):
    """Fit, write preset and report; an interrupted run goes on.

    Args:
        fields: of the data.
        model: compiled.
        paint: function of the model that gives a PIL image.
        title: of the report.
        caption: of the painted picture in it.
        folder: RunFolder of this run.

    Returns:
        dict of numbers on the test data.
    """
    test = load_data(args, fields, "test", args.test_examples)
    backup = folder.backup
    backup.restore(model)
    batches = training_data(args, fields, model, folder.step)
    # Dropout draws the same whether the tokens were made now or read.
    keras.utils.set_random_seed(args.seed)
    with folder.training():
        model.fit(
            batches,
            steps_per_epoch=args.epoch_steps,
            epochs=folder.epochs,
            validation_data=test,
            callbacks=[
                NonFiniteLoss(),
                PaintedPictures(paint, folder.pictures, max(folder.epochs // 4, 1)),
                backup,
            ],
        )
    model.save_to_preset(args.output / "preset", args.preset_dtype)

    numbers = model.evaluate(test, return_dict=True)
    history = backup.history
    facts = settings(args, model)
    facts["backend"] = keras.backend.backend()
    facts["parameters of the prior"] = f"{model.prior.count_params():,}"
    pictures = {caption: paint(model)}
    if history:
        shown = ["loss", *model.loss_trackers]
        pictures["Training"] = curves(history, {name.replace("_", " "): [name] for name in shown})
    page = write_page(args.output, title, numbers, facts, pictures, history)
    folder.finish()
    print(", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in numbers.items()))
    print(f"Report: {page.resolve()}\nPreset: {(args.output / 'preset').resolve()}")
    return numbers

"""What the recipes that train a prior share: data, training, and the report."""

import keras

import keras_regvq
from keras_regvq.backend.fast_layers import use_fast_layers
from keras_regvq.backend.fit_state import synchronize
from keras_regvq.backend.processes import alone, in_turns
from keras_regvq.data.order import array_batches
from keras_regvq.data.sources.token_shards import read_index
from keras_regvq.models.tokenizers.fingerprint import tokens_fingerprint
from keras_regvq.pictures import curves
from keras_regvq.training import NonFiniteLoss
from keras_regvq.training.callbacks import EpochPicture
from shared.devices import for_all
from shared.evaluation import write_page
from shared.held_out import load_part
from shared.recipe_card import recipe_card
from shared.saved_preset import save_preset, write_card


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
        drop_remainder=None if shuffle or from_step is not None else False,
    )


def training_data(args, fields, model, step):
    """Shuffled batches without end, from a step on: of images, or of tokens made before."""
    if args.tokens is not None:
        return token_batches(args, fields, model, step)
    if args.cache is None:
        return load_data(args, fields, "train", args.num_examples, shuffle=True, from_step=step)
    print("Tokenizing the training images, or reading their tokens ...", flush=True)
    with in_turns(), alone():  # one process makes them, the others read them
        arrays = model.tokenize(load_data(args, fields, "train", args.num_examples), args.cache)
    return array_batches(arrays, args.batch_size, args.seed, step)


def token_batches(args, fields, model, step):
    """Shuffled batches without end from the shards of --tokens."""
    found = read_index(args.tokens)["fingerprint"]
    if found != tokens_fingerprint(model.tokenizer):
        raise ValueError(f"--tokens {args.tokens}: they are of another tokenizer")
    return keras_regvq.data.load(
        f"tokens:{args.tokens}",
        batch_size=args.batch_size,
        fields=fields,
        seed=args.seed,
        from_step=step,
    )


def compile_model(args, model):
    """AdamW or Muon, with warm-up and cosine decay."""
    warmup = max(args.steps // 20, 1)
    rate = keras.optimizers.schedules.CosineDecay(
        args.learning_rate / warmup,
        max(args.steps - warmup, 1),
        alpha=0.02,
        warmup_target=args.learning_rate,
        warmup_steps=warmup,
    )
    use_fast_layers(model)
    common = {"weight_decay": args.weight_decay, "global_clipnorm": 1.0}
    common |= {"use_ema": True, "ema_momentum": args.ema} if args.ema else {}
    if args.optimizer == "muon":
        others = {"adam_lr_ratio": 0.2, "adam_beta_2": 0.95}
        optimizer = keras_regvq.training.Muon(rate, **others, **common)
    else:
        optimizer = keras.optimizers.AdamW(rate, beta_2=0.95, **common)
    model.compile(optimizer)


class SamplePictures(EpochPicture):
    """Samples for held-out conditions, now and then while it trains."""

    def __init__(self, sample, directory, every):
        super().__init__(directory, "samples", every)
        self.sample = sample

    def picture(self):
        synchronize(self.model)
        return self.sample(self.model)


def settings(args, model):
    """dict of what a report says: of the model what it is, of the options those of the training."""
    options = ("data", "image_size", "num_examples", "tokenizer", "condition", "start", "unet")
    options += ("text_encoder", "steps", "batch_size", "optimizer", "learning_rate")
    options += ("weight_decay", "ema", "precision", "preset_dtype", "seed", "cache", "tokens")
    facts = {name: getattr(args, name) for name in options if hasattr(args, name)}
    if facts.get("start"):
        facts["tokenizer"] = facts["text_encoder"] = f"of {args.start}"
    unsaid = ("name", "trainable", "dtype", "seed", "condition")
    config = model.prior.get_config().items()
    facts |= {name: value for name, value in config if name not in unsaid}
    return {name: str(value) for name, value in facts.items()}


def train(args, fields, model, sample, title, caption, folder, replicas):
    """Fit, write preset and report; an interrupted run goes on.

    Args:
        fields: of the data.
        model: compiled.
        sample: function of the model that gives a PIL image.
        title: of the report.
        caption: of that picture in it.
        folder: RunFolder of this run.
        replicas: among which batches are divided.

    Returns:
        dict of numbers on the test data.
    """
    test = load_part(args.data, "test", args.image_size, fields, args.test_examples, seed=args.seed)
    test = for_all(test, replicas)
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
            validation_data=(test,),
            validation_batch_size=args.batch_size,
            callbacks=[
                NonFiniteLoss(),
                SamplePictures(sample, folder.pictures, max(folder.epochs // 4, 1)),
                backup,
            ],
        )
    known = folder.command, args.data, args.num_examples
    preset = args.output / "preset"
    save_preset(model, preset, args.preset_dtype, recipe_card(*known))

    numbers = model.evaluate(test, batch_size=args.batch_size, return_dict=True)
    write_card(model, preset, recipe_card(*known, numbers))
    history = backup.history
    facts = settings(args, model)
    facts["backend"] = keras.backend.backend()
    facts["parameters of the prior"] = f"{model.prior.count_params():,}"
    pictures = {caption: sample(model)}
    if history:
        shown = ["loss", *model.loss_trackers]
        pictures["Training"] = curves(history, {name.replace("_", " "): [name] for name in shown})
    page = write_page(args.output, title, numbers, facts, pictures, history)
    folder.finish()
    print(", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in numbers.items()))
    print(f"Report: {page.resolve()}\nPreset: {preset.resolve()}")
    return numbers

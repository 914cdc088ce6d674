"""Train a prior that generates images from label maps.

    python recipes/train_semantic_to_image.py --config recipes/configs/scenes.toml

    python recipes/train_semantic_to_image.py --data folder:street --num-classes 20 \\
        --tokenizer runs/street/preset --image-size 128 --output runs/street_generator

Takes images with label maps, and a tokenizer trained on such images (train_tokenizer.py). A config
is a TOML file of these options; what the command line says goes first. Writes samples while it
trains, and at the end a preset and a report (index.html).
"""

import math

import keras_regvq
from shared.devices import on_devices
from shared.options import integer
from shared.prior_options import Options
from shared.run_folder import RunFolder
from shared.running import ON_RESUME, run

FIELDS = ("images", "labels")


def parse_arguments(arguments=None):
    options = Options(__doc__, "runs/semantic_to_image")
    data = options.group("data")
    data(
        "--data", "scenes", "scenes, ade20k:DIR, celebamask_hq:DIR, folder:DIR, npz:FILE, tfds:NAME"
    )
    data("--image-size", 64, "side in pixels")
    data("--num-classes", None, "labels are below this; known for the first 3", type=integer(1))
    data("--num-examples", None, "use at most so many training images", type=integer(1))
    data("--cache", None, "directory to keep the images' tokens in", type=str)
    data("--tokens", None, "shards of `python -m keras_regvq tokenize`, to train from", type=str)

    model = options.group("model")
    model("--tokenizer", "regvq_scenes_64", "preset of the image tokenizer")
    model("--condition", "patches", "how the map is given", choices=("patches", "tokens"))
    model("--prefix-grid", None, "patches: side of the prefix's grid", type=integer(1))
    model("--label-codes", 64, "tokens: codes of the map's own tokenizer")
    model("--label-factor", 4, "tokens: pixels a side of a map token", choices=(1, 2, 4, 8, 16, 32))
    model("--label-steps", 2000, "tokens: steps that train the map's tokenizer")
    model("--layers", 6, "transformer blocks")
    model("--heads", 8, "attention heads")
    model("--width", 256, "transformer width")
    model("--dropout", 0.0, "rate")
    model("--keep-probability", 1.0, "input tokens kept; the others become random")
    model("--condition-dropout", 0.1, "examples without their map, for guidance")
    model("--checkpointing", False, "recompute activations", action="store_true")
    options.add_training()
    return options.parse(arguments)


def build_condition(args, num_classes, folder):
    if args.condition == "patches":
        return keras_regvq.models.LabelMapCondition(num_classes, args.image_size, args.prefix_grid)

    import keras

    from keras_regvq.backend.processes import is_first_process, wait_for_all
    from shared.prior_recipe import load_data
    from shared.recipe_card import recipe_card

    levels = int(math.log2(args.label_factor))
    tokenizer = keras_regvq.models.LabelMapTokenizer(
        num_classes,
        args.image_size,
        keras_regvq.quantizers.VectorQuantizer(args.label_codes, 64),
        channel_multipliers=(1,) + (2,) * levels,
    )
    folder.start()
    if not (folder.label_tokenizer / "config.json").exists():
        print("Training the label maps' tokenizer ...", flush=True)
        tokenizer.compile(keras.optimizers.Adam(1e-3))
        steps = min(args.epoch_steps, args.label_steps)
        backup = folder.backup_of_part("label_tokenizer")
        maps = load_data(
            args,
            FIELDS,
            "train",
            args.num_examples,
            shuffle=True,
            from_step=backup.epoch * steps,
        )
        with folder.training():
            tokenizer.fit(
                maps.map(lambda batch: batch["labels"]),
                steps_per_epoch=steps,
                epochs=math.ceil(args.label_steps / steps),
                callbacks=[keras_regvq.training.NonFiniteLoss(), backup],
            )
        if is_first_process():
            card = recipe_card(folder.command, args.data, args.num_examples)
            tokenizer.save_to_preset(str(folder.label_tokenizer), card=card)
        wait_for_all()
    # What is drawn from here on is the same whether it was trained now or before.
    keras.utils.set_random_seed(args.seed)
    return keras_regvq.models.TokenizedMapCondition(
        keras_regvq.models.LabelMapTokenizer.from_preset(folder.label_tokenizer)
    )


def build_model(args, num_classes, folder):
    from shared.prior_recipe import compile_model

    tokenizer = keras_regvq.from_preset(args.tokenizer)
    side = args.image_size // tokenizer.downsampling_factor
    prior = keras_regvq.models.AutoregressivePrior(
        tokenizer.codebook_size,
        (side, side, *tokenizer.token_grid[2:]),
        args.layers,
        args.heads,
        args.width,
        build_condition(args, num_classes, folder),
        dropout=args.dropout,
        keep_probability=args.keep_probability,
        condition_dropout=args.condition_dropout,
        gradient_checkpointing=args.checkpointing,
        seed=args.seed,
    )
    model = keras_regvq.models.SemanticToImage(tokenizer, prior)
    compile_model(args, model)
    return model


def palette_of(source, num_classes):
    if source == "scenes":
        return keras_regvq.data.SCENE_PALETTE
    return keras_regvq.pictures.label_palette(num_classes)


def main(arguments=None):
    args = parse_arguments(arguments)
    num_classes = args.num_classes or keras_regvq.data.label_classes(args.data)
    if num_classes is None:
        raise SystemExit(
            f"error: --num-classes is needed: {args.data} does not say how many there are."
        )
    folder = RunFolder(args, "train_semantic_to_image", arguments)
    if folder.is_finished:
        return folder.say_finished()
    with on_devices(args.distribute) as replicas:
        return train_model(args, folder, replicas, num_classes)


def train_model(args, folder, replicas, num_classes):
    import keras

    from keras_regvq.pictures import image_grid
    from shared.held_out import load_part
    from shared.prior_recipe import train

    keras.utils.set_random_seed(args.seed)
    keras.config.set_dtype_policy(args.precision)
    model = build_model(args, num_classes, folder)
    examples = load_part(args.data, "test", args.image_size, FIELDS, 10, seed=args.seed)
    palette = palette_of(args.data, num_classes)

    def sample(model):
        maps, generated = examples["labels"], model.generate(examples["labels"], seed=0)
        return image_grid([palette[maps], generated, examples["images"]])

    title = f"Pictures from label maps of {args.data}"
    caption = "Held-out maps, generated images, real images"
    return train(args, FIELDS, model, sample, title, caption, folder, replicas)


if __name__ == "__main__":
    run(main, ON_RESUME)

"""Train a prior that generates images from captions.

    python recipes/train_text_to_image.py --config recipes/configs/scenes_text.toml

    python recipes/train_text_to_image.py --data folder:birds --tokenizer runs/birds/preset \\
        --image-size 128 --text-encoder bert_base_en --output runs/bird_generator

Takes images with captions, and a tokenizer trained on such images (train_tokenizer.py). The text
encoder is a small one of the captions' own words, trained along, or any language model that
KerasHub loads, frozen. A config is a TOML file of these options; what the command line says goes
first. Writes samples while it trains, and at the end a preset and a report (index.html).
"""

import keras_regvq
from shared.devices import on_devices
from shared.options import integer
from shared.prior_options import Options
from shared.run_folder import RunFolder
from shared.running import ON_RESUME, run

FIELDS = ("images", "captions")


def parse_arguments(arguments=None):
    options = Options(__doc__, "runs/text_to_image")
    data = options.group("data")
    data("--data", "scenes", "scenes, cub:DIR, emoji:DIR, folder:DIR, npz:FILE or tfds:NAME")
    data("--image-size", 64, "side in pixels")
    data("--num-examples", None, "use at most so many training images", type=integer(1))
    data("--cache", None, "directory to keep the images' tokens in", type=str)
    data("--tokens", None, "shards of `python -m keras_regvq tokenize`, to train from", type=str)

    model = options.group("model")
    model("--tokenizer", "regvq_scenes_64", "preset of the image tokenizer")
    model("--process", "discrete", "kind of diffusion", choices=("discrete", "gaussian"))
    model(
        "--start",
        None,
        "continue from this preset's weights and sizes instead of fresh ones",
        type=str,
    )
    model("--unet", None, "start with the network and the words of this preset", type=str)
    model("--text-encoder", "words", '"words", or a language model: a name, a directory, hf://...')
    model(
        "--text-length",
        None,
        "positions of a caption; default the longest one's, or 64",
        type=integer(1),
    )
    model("--min-count", 1, "words: leave out words that are rarer")
    model("--text-layers", 2, "words: transformer blocks")
    model("--channels", 128, "of the U-Net's first level")
    model("--multipliers", (1, 2), "of its levels", type=integer(1), nargs="+")
    model("--res-blocks", 2, "residual blocks a level")
    model(
        "--attention-levels",
        (1,),
        "levels with attention; 0 is the whole grid",
        type=integer(0),
        nargs="*",
    )
    model("--heads", 4, "attention heads")
    model("--dropout", 0.0, "rate")
    model("--condition-dropout", 0.1, "examples without their caption, for guidance")
    model("--replace-share", 0.1, "discrete: noised tokens that are random, not masked")
    model("--variational-weight", 0.01, "discrete: of the bound beside the cross-entropy")
    model("--guidance-scale", 2.0, "of the samples that are shown")
    options.add_training(ema=0.999)
    return options.parse(arguments)


def build_text_encoder(args):
    if args.text_encoder != "words":
        return keras_regvq.models.PretrainedTextEncoder(args.text_encoder, args.text_length or 64)

    from keras_regvq.data.every_caption import every_caption

    print("Reading the captions ...", flush=True)
    captions = every_caption(args.data, "train", args.image_size, args.num_examples)
    return keras_regvq.models.VocabularyEncoder.from_captions(
        captions, args.text_length, args.min_count
    )


def build_model(args):
    from shared.prior_recipe import compile_model

    if args.start is not None:
        model = keras_regvq.models.TextToImage.from_preset(args.start, dtype=args.precision)
        compile_model(args, model)
        return model
    tokenizer = keras_regvq.from_preset(args.tokenizer)
    side = args.image_size // tokenizer.downsampling_factor
    start = None if args.unet is None else keras_regvq.models.TextToImage.from_preset(args.unet)
    encoder = build_text_encoder(args) if start is None else start.text_encoder
    words = {"num_layers": args.text_layers} if args.text_encoder == "words" else {}
    if args.process == "discrete":
        process = {
            "replace_share": args.replace_share,
            "variational_weight": args.variational_weight,
        }
    else:
        process = {"embedding_dim": tokenizer.quantizer.embedding_dim}
    prior = keras_regvq.models.DiffusionPrior(
        tokenizer.codebook_size,
        (side, side, *tokenizer.token_grid[2:]),
        args.process,
        args.channels,
        tuple(args.multipliers),
        args.res_blocks,
        tuple(args.attention_levels),
        args.heads,
        args.dropout,
        encoder.condition(**words),
        args.condition_dropout,
        seed=args.seed,
        **process,
    )
    if start is not None:
        take_weights(prior, start, tokenizer)
    model = keras_regvq.models.TextToImage(tokenizer, prior, encoder)
    compile_model(args, model)
    return model


def take_weights(prior, start, tokenizer):
    """The weights of the TextToImage `start`, where they mean the same; the others stay."""
    from keras_regvq.models.tokenizers.fingerprint import tokens_fingerprint

    others, own = start.prior.condition.get_weights(), prior.condition.get_weights()
    prior.condition.set_weights([*others, *own[len(others) :]])  # it may have gained some
    prior.unet.set_weights(start.prior.unet.get_weights())
    same = tokens_fingerprint(tokenizer) == tokens_fingerprint(start.tokenizer)
    if same and prior.process.kind == start.prior.process.kind:
        prior.process.set_weights(start.prior.process.get_weights())


def main(arguments=None):
    args = parse_arguments(arguments)
    folder = RunFolder(args, "train_text_to_image", arguments)
    if folder.is_finished:
        return folder.say_finished()
    with on_devices(args.distribute) as replicas:
        return train_model(args, folder, replicas)


def train_model(args, folder, replicas):
    import keras

    from keras_regvq.pictures import image_grid
    from shared.held_out import load_part
    from shared.prior_recipe import train

    keras.utils.set_random_seed(args.seed)
    keras.config.set_dtype_policy(args.precision)
    model = build_model(args)
    examples = load_part(args.data, "test", args.image_size, FIELDS, 10, seed=args.seed)

    def sample(model):
        guidance = {"guidance_scale": args.guidance_scale if args.condition_dropout else 1.0}
        generated = model.generate(examples["captions"], seed=0, **guidance)
        return image_grid([generated, examples["images"]])

    title = f"Pictures from captions of {args.data}"
    caption = "Generated from held-out captions; real images"
    return train(args, FIELDS, model, sample, title, caption, folder, replicas)


if __name__ == "__main__":
    run(main, ON_RESUME)

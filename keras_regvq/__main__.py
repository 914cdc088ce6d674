"""python -m keras_regvq convert CHECKPOINT DIRECTORY: another project's tokenizer as a preset."""

import argparse
import math
import sys
import time
from collections import Counter
from pathlib import Path

import keras_regvq
from keras_regvq.models import SemanticToImage
from keras_regvq.presets.taming_config import read_taming_config
from keras_regvq.validation import refuse


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m keras_regvq", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    convert = commands.add_parser(
        "convert",
        help="a tokenizer of diffusers, taming-transformers or LlamaGen into a preset, or back",
    )
    convert.add_argument("source", help="checkpoint, folder of a VQModel, or preset")
    convert.add_argument("directory", help="where to write")
    convert.add_argument("--image-size", type=int, help="side in pixels that it is for")
    convert.add_argument(
        "--to", default="keras", choices=("keras", "diffusers", "taming", "llamagen"),
        help="what to write [keras, a preset]",
    )  # fmt: skip
    convert.add_argument("--config", help="a taming-transformers checkpoint's YAML file")
    convert.add_argument("--float16", action="store_true", help="a preset of half the size")
    convert.add_argument(
        "--num-heads", type=int,
        help="of a Net2Net's transformer, where no --config tells: it is converted, too, into one "
        "preset that paints label maps, else into two, DIRECTORY/tokenizer and DIRECTORY/prior",
    )  # fmt: skip
    convert.add_argument("--num-classes", type=int, help="of a Net2Net that is told of a class")
    args = parser.parse_args(arguments)
    try:
        print(_convert(args))
    except ValueError as error:
        sys.exit(f"error: {error}")


def _convert(args):
    start, presets, prior = time.perf_counter(), keras_regvq.presets, None
    heads = args.num_heads
    if heads is None and args.config is not None:
        heads = read_taming_config(args.config).num_heads
    if heads is None and args.num_classes is not None:
        refuse(
            "--num-classes", args.num_classes, "none without --num-heads or a Net2Net's --config"
        )
    if heads is not None:
        if args.to != "keras":
            refuse("--to", args.to, "keras, where a transformer is converted too")
        options = heads, args.num_classes, args.image_size, args.config
        tokenizer, prior, ignored = presets.load_net2net(args.source, *options)
        project = "taming"
    elif presets.foreign_format(args.source):
        tokenizer, project, ignored = presets.load_foreign(
            args.source, args.image_size, args.config
        )
    elif args.config is not None:
        refuse("--config", args.config, f"none: {args.source} is not of taming-transformers")
    else:
        tokenizer, project, ignored = keras_regvq.from_preset(args.source), "keras_regvq", []
    lines = [f"{args.source} ({project}) -> {args.directory} ({args.to})", *_summary(tokenizer)]
    if prior is not None:
        lines += _prior_summary(prior)
    if args.to == "keras":
        _save(tokenizer, prior, Path(args.directory), "float16" if args.float16 else "float32")
    else:
        presets.export(tokenizer, args.directory, args.to)
    groups = Counter(".".join(name.split(".")[:2]) for name in ignored)
    kind = "tokenizer" if prior is None else "tokenizer or prior"
    lines += [f"  left aside, no part of a {kind}: {n} x {g}" for g, n in groups.items()]
    return "\n".join([*lines, f"  {time.perf_counter() - start:.1f} s"])


def _save(tokenizer, prior, directory, dtype):
    if prior is None:
        tokenizer.save_to_preset(directory, dtype)
    elif getattr(prior.condition, "tokenizer", None):  # told of label maps
        SemanticToImage(tokenizer, prior).save_to_preset(directory, dtype)
    else:
        tokenizer.save_to_preset(directory / "tokenizer", dtype)
        prior.save_to_preset(directory / "prior", dtype)


def _summary(tokenizer):
    quantizer, (height, width) = tokenizer.quantizer, tokenizer.image_size
    return [
        _size("tokenizer", tokenizer),
        f"    images of {height} x {width} pixels to {tokenizer.token_grid[0]} x "
        f"{tokenizer.token_grid[1]} tokens of {quantizer.codebook_size:,} codes, "
        f"{quantizer.embedding_dim} wide ({type(quantizer).__name__})",
    ]


def _prior_summary(prior):
    condition, told = prior.condition, "nothing"
    if condition is not None:
        maps = condition.tokenizer
        told = (
            f"maps of {maps.num_classes} labels" if maps else f"{condition.vocabulary_size} classes"
        )
    return [
        _size("prior", prior),
        f"    {len(prior.blocks)} layers of width {prior.settings['hidden_dim']}, told of {told}",
    ]


def _size(part, model):
    weights = model.trainable_weights
    count = sum(math.prod(weight.shape) for weight in weights)
    return f"  {part}: {len(weights)} tensors, {count:,} parameters"


if __name__ == "__main__":
    main()

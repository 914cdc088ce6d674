"""python -m keras_regvq convert CHECKPOINT DIRECTORY: another project's tokenizer as a preset."""

import argparse
import math
import sys
import time
from collections import Counter

import keras_regvq


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
    convert.add_argument("--float16", action="store_true", help="a preset of half the size")
    args = parser.parse_args(arguments)
    try:
        print(_convert(args))
    except ValueError as error:
        sys.exit(f"error: {error}")


def _convert(args):
    start, presets = time.perf_counter(), keras_regvq.presets
    if presets.foreign_format(args.source):
        tokenizer, project, ignored = presets.load_foreign(args.source, args.image_size)
    else:
        tokenizer, project, ignored = keras_regvq.from_preset(args.source), "keras_regvq", []
    if args.to == "keras":
        tokenizer.save_to_preset(args.directory, "float16" if args.float16 else "float32")
    else:
        presets.export(tokenizer, args.directory, args.to)
    quantizer, (height, width) = tokenizer.quantizer, tokenizer.image_size
    lines = [
        f"{args.source} ({project}) -> {args.directory} ({args.to})",
        f"  {len(tokenizer.trainable_weights)} tensors, {_count(tokenizer):,} parameters",
        f"  images of {height} x {width} pixels to {tokenizer.token_grid[0]} x "
        f"{tokenizer.token_grid[1]} tokens of {quantizer.codebook_size:,} codes, "
        f"{quantizer.embedding_dim} wide ({type(quantizer).__name__})",
    ]
    groups = Counter(".".join(name.split(".")[:2]) for name in ignored)
    lines += [f"  left aside, no part of a tokenizer: {n} x {g}" for g, n in groups.items()]
    return "\n".join([*lines, f"  {time.perf_counter() - start:.1f} s"])


def _count(tokenizer):
    return sum(math.prod(weight.shape) for weight in tokenizer.trainable_weights)


if __name__ == "__main__":
    main()

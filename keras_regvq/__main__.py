"""The commands of the package.

python -m keras_regvq convert CHECKPOINT DIRECTORY: another project's tokenizer as a preset.
python -m keras_regvq tokenize --data SOURCE --preset PRESET --output DIRECTORY: shards of tokens.
python -m keras_regvq upload PRESET hf://USER/NAME: a preset to a hub, with its model card.
python -m keras_regvq demo: a page in the browser, to draw on and to look into tokens.
"""

import argparse
import math
import sys
import time
from collections import Counter
from pathlib import Path

import keras_regvq  # its parts are imported when they are first used: --help is quick
from keras_regvq.backend.tensorflow_logs import quiet_tensorflow
from keras_regvq.checks.arguments import refuse
from keras_regvq.demo.command import add_demo_command, demo_command
from keras_regvq.files.replacing import replacing_directory
from keras_regvq.tokenizing.command import add_tokenize_command, tokenize_command
from keras_regvq.upload_command import add_upload_command, upload_command


def main(arguments=None):
    args = parse_arguments(arguments)
    try:
        quiet_tensorflow()
        commands = {"convert": _convert, "demo": demo_command}
        commands |= {"tokenize": tokenize_command, "upload": upload_command}
        print(commands[args.command](args))
    except KeyboardInterrupt:
        print("Interrupted: the same command goes on, or starts again.", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {_one_line(error)}")
    except Exception as error:  # such as a hub's own kinds, or a lack of memory
        source = getattr(args, "source", getattr(args, "data", args.command))
        sys.exit(f"error: {source}: {type(error).__name__}: {_one_line(error)}")


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m keras_regvq",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add_tokenize_command(commands)
    add_upload_command(commands)
    add_demo_command(commands)
    convert = commands.add_parser(
        "convert",
        help="another project's tokenizer, such as diffusers', into a preset, or back",
    )
    convert.add_argument("source", help="checkpoint, folder of a VQModel, or preset")
    convert.add_argument("directory", help="where to write")
    convert.add_argument(
        "--overwrite", action="store_true", help="replace files in a DIRECTORY that is not empty"
    )
    convert.add_argument("--image-size", type=_positive, help="side of the images, in pixels")
    convert.add_argument(
        "--to", default="keras",
        choices=("keras", "diffusers", "taming", "llamagen", "open_muse", "seed_voken"),
        help="what to write [keras, a preset]",
    )  # fmt: skip
    convert.add_argument("--config", help="YAML file of a checkpoint of taming or SEED-Voken")
    convert.add_argument("--float16", action="store_true", help="store weights as float16")
    convert.add_argument(
        "--num-heads", type=_positive,
        help="attention heads of a Net2Net's transformer, if there is no --config: it is converted "
        "too, into one preset for label maps, else into DIRECTORY/tokenizer and DIRECTORY/prior",
    )  # fmt: skip
    convert.add_argument(
        "--num-classes", type=_positive, help="number of classes of a class-conditional Net2Net"
    )
    return parser.parse_args(arguments)


def _convert(args):
    start, presets, prior = time.perf_counter(), keras_regvq.presets, None
    heads = args.num_heads
    if heads is None and args.config is not None:
        from keras_regvq.presets.formats.taming_config import read_taming_config

        heads = read_taming_config(args.config).num_heads
    _check_options(args, heads)
    _check_target(args)
    if heads is not None:
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
        size = {} if args.image_size is None else {"image_size": args.image_size}
        tokenizer, project, ignored = (
            keras_regvq.from_preset(args.source, **size), "keras_regvq", []
        )  # fmt: skip
    if not isinstance(tokenizer, keras_regvq.models.ImageTokenizer):
        received = f"{args.source}, which holds a {type(tokenizer).__name__}"
        refuse("source", received, "a tokenizer")
    lines = [f"{args.source} ({project}) -> {args.directory} ({args.to})", *_summary(tokenizer)]
    if prior is not None:
        lines += _prior_summary(prior)
    _write(args, tokenizer, prior)
    groups = Counter(".".join(name.split(".")[:2]) for name in ignored)
    kind = "tokenizer" if prior is None else "tokenizer or prior"
    lines += [f"  left aside, no part of a {kind}: {n} x {g}" for g, n in groups.items()]
    return "\n".join([*lines, f"  {time.perf_counter() - start:.1f} s"])


def _check_options(args, heads):
    if heads is None and args.num_classes is not None:
        refuse(
            "--num-classes", args.num_classes, "none without --num-heads or a Net2Net's --config"
        )
    if heads is not None and args.to != "keras":
        refuse("--to", args.to, "keras, where a transformer is converted too")
    if args.float16 and args.to != "keras":
        refuse("--float16", f"--to {args.to}", "--to keras: only presets are written in float16")


def _check_target(args):
    """Refuse, before anything is read, to replace what is there."""
    directory = Path(args.directory)
    if directory.exists() and not directory.is_dir():
        refuse("directory", f"{directory}, which is a file", "a directory to write into")
    if directory.is_dir() and Path(args.source).exists() and directory.samefile(args.source):
        refuse("directory", f"{directory}, the source itself", "another directory")
    if _is_used(directory) and not args.overwrite:
        expected = "a new or an empty directory, or --overwrite to replace what is in it"
        refuse("directory", f"{directory}, which is not empty", expected)


def _is_used(directory):
    return directory.is_dir() and any(directory.iterdir())


def _write(args, tokenizer, prior):
    directory = Path(args.directory)
    if directory.is_dir():  # it may be a mount point or the working directory, and stays
        _write_into(directory, args, tokenizer, prior)
    else:
        with replacing_directory(directory) as part:
            _write_into(part, args, tokenizer, prior)


def _write_into(directory, args, tokenizer, prior):
    dtype = "float16" if args.float16 else "float32"
    if args.to != "keras":
        keras_regvq.presets.export(tokenizer, directory, args.to)
    elif prior is None:
        tokenizer.save_to_preset(directory, dtype)
    elif getattr(prior.condition, "tokenizer", None):  # its condition is a label map
        keras_regvq.models.SemanticToImage(tokenizer, prior).save_to_preset(directory, dtype)
    else:
        tokenizer.save_to_preset(directory / "tokenizer", dtype)
        prior.save_to_preset(directory / "prior", dtype)


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least 1")
    return int(text)


def _one_line(error):
    """What went wrong, in one line: an OSError's text is its reason and its file."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _summary(tokenizer):
    quantizer, (height, width) = tokenizer.quantizer, tokenizer.image_size
    return [
        _size("tokenizer", tokenizer),
        f"    images of {height} x {width} pixels to {tokenizer.token_grid[0]} x "
        f"{tokenizer.token_grid[1]} tokens of {quantizer.codebook_size:,} codes, "
        f"{quantizer.embedding_dim} wide ({type(quantizer).__name__})",
    ]


def _prior_summary(prior):
    condition, given = prior.condition, "no condition"
    if condition is not None:
        maps = condition.tokenizer
        given = f"label maps of {maps.num_classes} labels" if maps else (
            f"one of {condition.vocabulary_size} classes"
        )  # fmt: skip
    return [
        _size("prior", prior),
        f"    {len(prior.blocks)} layers of width {prior.settings['hidden_dim']}; "
        f"condition: {given}",
    ]


def _size(part, model):
    weights = model.trainable_weights
    count = sum(math.prod(weight.shape) for weight in weights)
    return f"  {part}: {len(weights)} tensors, {count:,} parameters"


if __name__ == "__main__":
    main()

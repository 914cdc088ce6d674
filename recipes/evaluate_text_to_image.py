"""Measure how well pictures generated from captions of held-out scenes show what was asked for.

    python recipes/evaluate_text_to_image.py
    python recipes/evaluate_text_to_image.py --steps 4 8 16 25 50 100 --count 64
    python recipes/evaluate_text_to_image.py --preset runs/a/preset runs/b/preset --steps 4 25
    python recipes/evaluate_text_to_image.py --tokenizers runs/tokenizer/preset

A classifier, trained on scenes that no other model has seen, looks for the objects, their colours,
the ground and the time of day that each caption names; the same measure on the real images and on
their reconstructions says what can be reached. "Seen" captions name only pairs of colour and kind
that occur in training; "unseen" ones name a pair that never does. Writes a table (results.md),
results.json, a picture and, for several --steps, a plot to --output.
"""

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np

import keras_regvq
from keras_regvq.files.replacing import replacing, write_text
from shared.held_out import warnings_of
from shared.markdown import markdown_table
from shared.options import adding_to, command_parser, integer, number
from shared.running import run

COLUMNS = ("kinds", "objects", "ground", "time", "facts")


def held_out_scenes(count, size, unseen):
    """`count` scenes of split "test" that do, or do not, show a pair that training never does."""
    found, seed = [], 0
    while len(found) < count:
        scene = keras_regvq.data.scene(seed, size, "test")
        if scene.attributes["objects"] and scene.attributes["unseen"] == unseen:
            found.append(scene)
        seed += 1
    return {
        "images": np.stack([scene.image for scene in found]),
        "captions": [scene.caption for scene in found],
        "attributes": [scene.attributes for scene in found],
    }


def table(results):
    rows = []
    for row in results:
        cells = [row["captions"], row["pictures"], *(f"{row[name]:.1%}" for name in COLUMNS)]
        rows.append([*cells, f"{row['kernel_distance']:.4f}"])
    return markdown_table(["captions", "pictures", *COLUMNS, "kernel distance"], rows)


def plot_steps(results, path):
    """Facts found against steps: a colour for the seen and one for the unseen captions, a line
    style a model."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    steps = sorted({row["steps"] for row in results if "steps" in row})
    models = list(dict.fromkeys(row["model"] for row in results if "steps" in row))
    for colour, captions in (("tab:blue", "seen"), ("tab:orange", "unseen")):
        rows = [row for row in results if row["captions"] == captions]
        for style, model in zip(itertools.cycle(("o-", "s--", "^-.", "v:")), models):
            facts = {row["steps"]: row["facts"] for row in rows if row.get("model") == model}
            points = sorted(facts.items())
            axes.plot(*zip(*points, strict=True), style, color=colour, label=f"{captions}, {model}")
        limit = next(row["facts"] for row in rows if row["pictures"] == "reconstructions")
        axes.axhline(limit, color=colour, linewidth=0.8, label=f"{captions}, reconstructions")
    axes.set(xscale="log", xlabel="steps", ylabel="facts found", ylim=(0, 1.02))
    axes.set_xticks(steps, [str(count) for count in steps])
    axes.minorticks_off()
    axes.legend(fontsize="small")
    with replacing(path) as part:
        figure.savefig(part, dpi=120)


def name_models(models):
    """The models' names by preset: the process, and the preset too where several share it."""
    processes = {preset: model.prior.settings["process"] for preset, model in models.items()}
    shared = [process for process, n in Counter(processes.values()).items() if n > 1]
    return {
        preset: f"{process} ({preset})" if process in shared else process
        for preset, process in processes.items()
    }


def load_models(args):
    """{preset: TextToImage}; all are to be of one image size, and diffuse."""
    load = keras_regvq.models.TextToImage.from_preset
    models = {preset: load(preset) for preset in args.preset}
    sizes = {preset: model.tokenizer.image_size for preset, model in models.items()}
    if len(set(sizes.values())) > 1:
        raise SystemExit(f"error: --preset: all must have one image size; they have {sizes}.")
    for preset, model in models.items():
        if not isinstance(model.prior, keras_regvq.models.DiffusionPrior):
            raise SystemExit(f"error: --preset {preset} is no diffusion model, as --steps needs.")
        if args.sampler not in (None, *model.prior.process.samplers):
            known = ", ".join(model.prior.process.samplers)
            raise SystemExit(f"error: --sampler {args.sampler}: {preset} has {known}.")
    return models


def parse_arguments(arguments=None):
    parser = command_parser(__doc__)
    option = adding_to(parser)
    option(
        "--preset",
        ("text_scenes_64",),
        "TextToImage trained on scenes",
        type=str,
        nargs="+",
    )
    option(
        "--tokenizers", (), "presets whose reconstructions are measured too", type=str, nargs="*"
    )
    option("--count", 128, "captions of each kind", type=integer(2))
    option("--steps", (25,), "sampling steps; several make a plot", type=integer(1), nargs="+")
    option("--sampler", None, "sampler of the prior", type=str)
    option("--guidance-scale", 4.0, "classifier-free guidance", type=number(0))
    option("--temperature", 1.0, "of the sampling", type=number(0))
    option("--seed", 0, "random seed")
    option("--classifier", Path("runs/scene_classifier.keras"), "kept here, made if missing")
    option("--output", Path("runs/evaluate_text_to_image"), "directory")
    return parser.parse_args(arguments)


def pictures_of(data, models, args):
    """Yield (name, facts, pictures): the real ones, their reconstructions, then the samples."""
    names, tokenizer = name_models(models), next(iter(models.values())).tokenizer
    yield "real", {}, data["images"]
    yield "reconstructions", {}, tokenizer.reconstruct(data["images"])
    for preset in args.tokenizers:
        other = keras_regvq.models.ImageTokenizer.from_preset(preset)
        yield f"reconstructions, {preset}", {}, other.reconstruct(data["images"])
    sampling = {"guidance_scale": args.guidance_scale, "seed": args.seed}
    if args.sampler is not None:
        sampling["sampler"] = args.sampler
    if args.temperature != 1:
        sampling["temperature"] = args.temperature
    for (preset, model), steps in itertools.product(models.items(), dict.fromkeys(args.steps)):
        name = names[preset]
        print(f"Sampling, {name}, {steps} steps ...", flush=True)
        samples = model.generate(data["captions"], num_steps=steps, **sampling)
        yield f"{name}, {steps} steps", {"preset": preset, "model": name, "steps": steps}, samples


def write_results(directory, report):
    write_text(directory / "results.json", json.dumps(report, indent=2) + "\n")
    write_text(directory / "results.md", table(report["results"]))


def main(arguments=None):
    args = parse_arguments(arguments)

    import keras

    from keras_regvq.pictures import image_grid
    from shared.replaced_results import say_what_is_replaced
    from shared.scene_classifier import found_facts, kernel_distance, load_classifier

    keras.utils.set_random_seed(args.seed)
    settings = {name: str(value) for name, value in vars(args).items()}
    say_what_is_replaced(args.output / "results.json", settings, "settings")
    models = load_models(args)
    size = next(iter(models.values())).tokenizer.image_size[0]
    classifier = load_classifier(args.classifier, size)
    others = keras_regvq.data.scenes(args.count, size=size, split="test", first_seed=500_000)

    warnings = warnings_of(args.count, sets=True)
    report = {
        "results": [], "settings": settings, "images": args.count, "warnings": warnings,
        "shown": {},
    }  # fmt: skip
    shown = {}
    for captions in ("seen", "unseen"):
        print(f"Captions of {captions} pairs:", flush=True)
        data = held_out_scenes(args.count, size, captions == "unseen")
        report["shown"][f"{captions} captions"] = data["captions"][:10]
        for name, facts, images in pictures_of(data, models, args):
            numbers = found_facts(classifier, images, data["attributes"])
            numbers["kernel_distance"] = kernel_distance(classifier, images, others["images"])
            if name == "reconstructions":
                limit, reconstructed = numbers["facts"], images[:10]
            row = {"captions": captions, "pictures": name, **facts, **numbers}
            if name != "real":
                share = row["facts"] / limit if limit else None
                row["share_of_the_reconstructions"] = share
            report["results"].append(row)
            write_results(args.output, report)  # what there is, before the next one starts
        shown[captions] = [images[:10], reconstructed, data["images"][:10]]
    with replacing(args.output / "samples.png") as part:
        image_grid([*shown["seen"], *shown["unseen"]], scale=2).save(part)
    if len(set(args.steps)) > 1:
        plot_steps(report["results"], args.output / "steps.png")
    print(table(report["results"]))
    for row in report["results"]:
        if "steps" in row and row["share_of_the_reconstructions"] is not None:
            share = f"{row['share_of_the_reconstructions']:.1%} of the reconstructions' facts"
            print(f"{row['captions']} captions, {row['pictures']}: {share}")
    print(f"{args.count} captions of each kind.")
    for warning in warnings:
        print(f"Warning: {warning}")
    print(f"Picture (samples, reconstruction, real; seen, then unseen): {args.output.resolve()}")
    return report


if __name__ == "__main__":
    run(main, "results.json has what was measured; a classifier that was trained is kept.")

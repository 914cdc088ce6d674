"""Measure how well pictures painted from captions of held-out scenes show what was asked for.

    python recipes/evaluate_text_to_image.py
    python recipes/evaluate_text_to_image.py --steps 4 8 16 25 50 100 --count 64
    python recipes/evaluate_text_to_image.py --preset runs/a/preset runs/b/preset --steps 4 25

A classifier, trained on scenes that no other model has seen, looks for the objects, their colours,
the ground and the time of day that each caption names; the same measure on the real images and on
their reconstructions says what can be reached. "Seen" captions name only pairs of colour and kind
that occur in training; "unseen" ones name a pair that never does. Writes a table (results.md),
results.json, a picture and, for several --steps, a plot to --output.
"""

import argparse
import itertools
import json
from collections import Counter
from pathlib import Path

import keras
import numpy as np

import keras_regvq
from keras_regvq.metrics import KernelDistance
from keras_regvq.training.pictures import image_grid
from scene_classifier import feature_network, found_facts, load_classifier

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


def kernel_distance(classifier, images, real):
    distance = KernelDistance(feature_network(classifier))
    for name, values in (("y_true", real), ("y_pred", images)):
        values = values.astype("float32") / 255 if values.dtype == np.uint8 else values
        for start in range(0, len(values), 64):
            distance.update_state(**{name: values[start : start + 64]})
    return float(distance.result())


def table(results):
    lines = [
        "| captions | pictures | " + " | ".join(COLUMNS) + " | kernel distance |",
        "|---" * (len(COLUMNS) + 3) + "|",
    ]
    for row in results:
        cells = [row["captions"], row["pictures"], *(f"{row[name]:.1%}" for name in COLUMNS)]
        lines.append("| " + " | ".join([*cells, f"{row['kernel_distance']:.4f}"]) + " |")
    return "\n".join(lines) + "\n"


def plot_steps(results, path):
    """Facts found against steps: a colour for the seen and one for the unseen captions, a line
    style a painter."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    steps = sorted({row["steps"] for row in results if "steps" in row})
    painters = list(dict.fromkeys(row["painter"] for row in results if "steps" in row))
    for colour, captions in (("tab:blue", "seen"), ("tab:orange", "unseen")):
        rows = [row for row in results if row["captions"] == captions]
        for style, painter in zip(itertools.cycle(("o-", "s--", "^-.", "v:")), painters):
            facts = [row["facts"] for row in rows if row.get("painter") == painter]
            axes.plot(steps, facts, style, color=colour, label=f"{captions}, {painter}")
        limit = next(row["facts"] for row in rows if row["pictures"] == "reconstructions")
        axes.axhline(limit, color=colour, linewidth=0.8, label=f"{captions}, reconstructions")
    axes.set(xscale="log", xlabel="steps", ylabel="facts found", ylim=(0, 1.02))
    axes.set_xticks(steps, [str(count) for count in steps])
    axes.minorticks_off()
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def name_painters(models):
    """The painters' names by preset: the process, and the preset too where several share it."""
    processes = {preset: model.prior.settings["process"] for preset, model in models.items()}
    shared = [process for process, n in Counter(processes.values()).items() if n > 1]
    return {
        preset: f"{process} ({preset})" if process in shared else process
        for preset, process in processes.items()
    }


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def option(name, default, help, **kwargs):
        kwargs.setdefault("type", type(default))
        parser.add_argument(name, default=default, help=f"{help} [{default}]", **kwargs)

    option(
        "--preset",
        ("text_scenes_64",),
        "TextToImage trained on scenes",
        type=str,
        nargs="+",
    )
    option("--count", 128, "captions of each kind")
    option("--steps", (25,), "sampling steps; several make a plot", type=int, nargs="+")
    option("--method", None, "sampler of the prior", type=str)
    option("--guidance-scale", 4.0, "classifier-free guidance")
    option("--temperature", 1.0, "of the sampling")
    option("--seed", 0, "random seed")
    option("--classifier", Path("runs/scene_classifier.keras"), "kept here, made if missing")
    option("--output", Path("runs/evaluate_text_to_image"), "directory")
    return parser.parse_args(arguments)


def main(arguments=None):
    args = parse_arguments(arguments)
    keras.utils.set_random_seed(args.seed)
    args.output.mkdir(parents=True, exist_ok=True)
    models = {preset: keras_regvq.from_preset(preset) for preset in args.preset}
    painters = name_painters(models)
    tokenizer = models[args.preset[0]].tokenizer
    size = tokenizer.image_size[0]
    classifier = load_classifier(args.classifier, size)
    others = keras_regvq.data.scenes(args.count, size=size, split="test", first_seed=500_000)
    sampling = {"guidance_scale": args.guidance_scale, "seed": args.seed}
    if args.method is not None:
        sampling["method"] = args.method
    if args.temperature != 1:
        sampling["temperature"] = args.temperature

    results, shown = [], {}
    for captions in ("seen", "unseen"):
        data = held_out_scenes(args.count, size, captions == "unseen")
        pictures = {
            "real": (data["images"], {}),
            "reconstructions": (tokenizer.reconstruct(data["images"]), {}),
        }
        for preset, steps in itertools.product(args.preset, args.steps):
            painter = painters[preset]
            print(f"Painting {captions} captions, {painter}, {steps} steps ...", flush=True)
            painted = models[preset].generate(data["captions"], num_steps=steps, **sampling)
            name = f"painted, {painter}, {steps} steps"
            pictures[name] = (painted, {"preset": preset, "painter": painter, "steps": steps})
        for name, (images, facts) in pictures.items():
            numbers = found_facts(classifier, images, data["attributes"])
            numbers["kernel_distance"] = kernel_distance(classifier, images, others["images"])
            results.append({"captions": captions, "pictures": name, **facts, **numbers})
        shown[captions] = [painted[:10], pictures["reconstructions"][0][:10], data["images"][:10]]
        shown[f"{captions} captions"] = data["captions"][:10]

    limits = {r["captions"]: r["facts"] for r in results if r["pictures"] == "reconstructions"}
    for row in results:
        row["share_of_the_reconstructions"] = row["facts"] / limits[row["captions"]]
    settings = {name: str(value) for name, value in vars(args).items()}
    report = {"results": results, "settings": settings}
    report["shown"] = {name: shown[name] for name in ("seen captions", "unseen captions")}
    (args.output / "results.json").write_text(json.dumps(report, indent=2) + "\n")
    (args.output / "results.md").write_text(table(results))
    image_grid([*shown["seen"], *shown["unseen"]], scale=2).save(args.output / "painted.png")
    if len(args.steps) > 1:
        plot_steps(results, args.output / "steps.png")
    print(table(results))
    for row in results:
        if "steps" in row:
            share = f"{row['share_of_the_reconstructions']:.1%} of the reconstructions' facts"
            print(f"{row['captions']} captions, {row['pictures']}: {share}")
    print(f"Picture (painted, reconstruction, real; seen, then unseen): {args.output.resolve()}")
    return report


if __name__ == "__main__":
    main()

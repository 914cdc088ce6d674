"""One command of at most eight minutes on one GPU: training, sampling and quantizing.

    python -m benchmarks.on_gpu
    python -m benchmarks.on_gpu --only quantizer --output runs/on_gpu
    python -m benchmarks.on_gpu --toy

The training step at 256 pixels, batch 8, in float32 (TF32) and bfloat16, on JAX and PyTorch beside
plain PyTorch, uncompiled and with torch.compile; autoregressive and diffusion sampling beside
transformers and diffusers; Reg-VQ's quantizer with 65,536 and 262,144 codes beside its one-hots in
plain PyTorch. Each row is a process of its own with a time limit of its own: what fails or hangs
loses its own row, which the table then says. Writes results.json after each row and results.md in
the end. The same command goes on: it runs the rows that are missing or failed. `--toy` takes tiny
sizes and a CPU. Needs JAX and PyTorch in one environment.
"""

import argparse
import importlib.util
import json
import platform
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.own_process import cards, cell, machine, run_logged
from keras_regvq.files.replacing import write_text

BACKENDS = {"jax": "jax", "torch": "torch", "tensorflow": "tensorflow"}
SIDES = {
    "jax": "keras_regvq, JAX",
    "torch": "keras_regvq, PyTorch",
    "plain": "plain PyTorch",
    "compiled": "plain PyTorch, torch.compile",
    "peer": "peer, PyTorch",
}
# Without it JAX takes most of the memory at once. A GPU computes float32 products in TF32.
ENVIRONMENT = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "JAX_DEFAULT_MATMUL_PRECISION": "tensorfloat32",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
TASKS = ("environment", "training", "quantizer", "autoregressive", "diffusion")
LIMIT = 100  # seconds of a row


def rows(toy):
    """name: settings, those first that matter most."""
    found = {}

    def add(task, side, precision="float32", codes=None):
        parts = [task, f"{codes:,} codes" if codes else None, precision, SIDES[side]]
        found[", ".join(filter(None, parts))] = {
            "task": task, "side": side, "precision": precision, "codes": codes, "toy": toy,
        }  # fmt: skip

    for precision in ("float32", "bfloat16"):
        for side in ("torch", "plain", "jax"):
            add("training step", side, precision)
    for codes in (32, 64) if toy else (65_536, 262_144):
        for side in ("torch", "plain", "jax"):
            add("quantizer", side, codes=codes)
    for task in ("autoregressive sampling", "diffusion sampling"):
        for side in ("torch", "peer", "jax"):
            add(task, side)
    for precision in ("float32", "bfloat16"):
        add("training step", "compiled", precision)
    return found


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=TASKS, default=TASKS, help="these tasks")
    add("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="these programs")
    add("--minutes", type=float, default=8.0, help="all together take at most so long [8]")
    add("--output", type=Path, default=Path("runs/on_gpu"), help="folder [runs/on_gpu]")
    add("--toy", action="store_true", help="tiny sizes, on a CPU too")
    return parser.parse_args(arguments)


def run_row(name, settings, output, limit):
    """Numbers of a row, or {"error": line}."""
    number = "".join(c if c.isalnum() else "_" for c in name)
    log, result = output / "logs" / f"{number}.txt", output / "logs" / f"{number}.json"
    result.unlink(missing_ok=True)
    side = settings["side"]
    environment = {**ENVIRONMENT, "KERAS_BACKEND": side if side in BACKENDS else "torch"}
    words = [sys.executable, "-m", "benchmarks.on_gpu_row", json.dumps(settings)]
    error, _ = run_logged([*words, str(result.resolve())], log, limit, environment)
    return {"error": error} if error else json.loads(result.read_text())


def asked_rows(args):
    found = {}
    if "environment" in args.only:
        for backend in BACKENDS:
            if importlib.util.find_spec(backend):
                found[f"environment, {backend}"] = {"task": "environment", "side": backend}
    for name, settings in rows(args.toy).items():
        if settings["task"].split()[0] in args.only and settings["side"] in args.sides:
            found[name] = settings
    return found


def main(arguments=None):
    end = time.monotonic() + 60 * (args := parse_arguments(arguments)).minutes
    path = args.output / "results.json"
    results = {"machine": machine(), "python": platform.python_version(), "cards": cards()}
    results |= {"toy": args.toy, "rows": {}}
    if path.exists():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        if [earlier[key] for key in ("machine", "toy")] != [results[k] for k in ("machine", "toy")]:
            sys.exit(f"error: {path} is of another machine or of another size: name an --output")
        results = earlier
    for name, settings in asked_rows(args).items():
        if "error" not in results["rows"].get(name, {"error": None}):
            continue
        left = end - time.monotonic()
        if left < 5:
            found = {"error": "not run: no time was left"}
        else:
            found = run_row(name, settings, args.output, min(LIMIT, left))
        date = datetime.now(UTC).isoformat(timespec="seconds")
        results["rows"][name] = {**settings, **found, "date": date}
        print(f"{name}: {found.get('error') or 'done'}", flush=True)
        write_text(path, json.dumps(results, indent=2) + "\n")
    table = markdown(results)
    write_text(args.output / "results.md", table)
    print(table)


def markdown(results):
    lines = [f"{results['machine']}; Python {results['python']}"]
    lines += [f"GPU, driver, memory: {', '.join(results['cards']) or 'nvidia-smi shows none'}", ""]
    if results["toy"]:
        lines += ["Toy sizes: these numbers say nothing about speed.", ""]
    of = {name: row for name, row in results["rows"].items() if row["task"] == "environment"}
    for name, row in of.items():
        if "error" in row:
            lines.append(f"* {name}: failed: {cell(row['error'])}")
        else:
            versions = ", ".join(f"{key} {value}" for key, value in row["versions"].items())
            lines.append(f"* {name}: {versions}; sees {', '.join(row['sees']) or 'no device'}")
    lines += [
        "",
        "float32 is in TF32 on a GPU. Times are medians; ratios are to plain PyTorch or the peer.",
    ]
    lines += ["", "| row | seconds | from, to | first call, s | peak device MB | time / peer |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, row in results["rows"].items():
        if name in of:
            continue
        if "error" in row:
            lines.append(f"| {name} | failed: {cell(row['error'])} | | | | |")
            continue
        seconds, peak = row["seconds"], row["peak_bytes"]
        lines.append(
            f"| {name} | {statistics.median(seconds):.4f} | {min(seconds):.4f}, {max(seconds):.4f} "
            f"| {row['first']:.1f} | {'-' if peak is None else f'{peak / 1e6:.0f}'} "
            f"| {ratio(results['rows'], row)} |"
        )
    return "\n".join(lines) + "\n"


def ratio(rows, row):
    """The row's median by that of its peer: plain uncompiled PyTorch, or the other project's."""
    same = ("task", "precision", "codes")
    for other in rows.values():
        peer = other["side"] in ("plain", "peer") and "error" not in other
        if peer and all(other[key] == row[key] for key in same):
            return f"{statistics.median(row['seconds']) / statistics.median(other['seconds']):.2f}"
    return "-"


if __name__ == "__main__":
    main()

"""Every benchmark of the README's table on each backend, one after the other.

    python -m benchmarks.all
    python -m benchmarks.all --only quantizer sample_diffusion --backends torch jax
    python -m benchmarks.all --toy --output runs/toy_benchmarks

Each is a process of its own. Its output is kept as a file, results.json is written after each, and
results.md in the end has the machine, date and command of each row. After a failure it goes on.
The same command goes on where it stopped: what has finished is not run again, what failed is.
`benchmarks.on_gpu` is a command of its own. Run it alone on the machine.
"""

import argparse
import importlib.util
import json
import shlex
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.own_process import cell, machine, run_logged
from keras_regvq.files.replacing import write_text

BACKENDS = ("torch", "jax", "tensorflow")
FEW = "--rounds 1 --repeats 1"
SMALL = "--batch-size 1 --rounds 1 --only keras_regvq"
TINY = (
    "--steps 2 --every 1 --batch-size 2 --codes 16 --width 8 --image-size 16 --train-images 4 "
    "--test-images 4 --peers none --backends torch"
)
STEP = "--image-size 32 --batch-size 1 --base-channels 8 --codebook-size 16 --rounds 1"
# name: options of the real size, options of a toy size. {folder} is a new folder.
BENCHMARKS = {
    "train_step": ("", STEP),
    "train_step bfloat16": ("--precision bfloat16", f"--precision bfloat16 {STEP}"),
    "train_step paper": ("--paper --rounds 5", f"--embedding 8 {STEP}"),
    "quantizer": ("", f"--sizes 16 {FEW}"),
    "quantizer_pairs": ("", f"--only fsq {FEW}"),
    "sample_autoregressive": ("", f"--length 16 --layers 1 --width 8 --codes 16 {SMALL}"),
    "sample_diffusion": ("", f"--grid 4 --steps 2 {SMALL}"),
    "start_up": ("", "--rounds 1"),
    "images": ("", "--count 4 --batch-size 2 --workers 1 --rounds 1"),
    "tokenizing": (
        "--output {folder}",
        "--count 20 --few 10 --workers 1 --kills 0 --output {folder}",
    ),
    "time_to_quality": ("--output {folder}", f"{TINY} --output {{folder}}"),
}
ALL_AT_ONCE = ("time_to_quality",)  # it starts a process of each backend itself


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    installed = [b for b in BACKENDS if importlib.util.find_spec(b)]
    add = parser.add_argument
    add("--only", nargs="+", metavar="NAME", default=list(BENCHMARKS), choices=list(BENCHMARKS))
    add("--backends", nargs="+", default=installed, choices=BACKENDS, help="[those installed]")
    add("--hours", type=float, default=6.0, help="limit of each [6]")
    add("--output", type=Path, default=Path("runs/benchmarks"), help="folder [runs/benchmarks]")
    add("--toy", action="store_true", help="tiny sizes: does everything run?")
    return parser.parse_args(arguments)


def jobs(args):
    """label: its backend, and the command's words after `python`."""
    found = {}
    for name in args.only:
        for backend in ("torch",) if name in ALL_AT_ONCE else args.backends:
            label = name if name in ALL_AT_ONCE else f"{name} {backend}"
            options = BENCHMARKS[name][args.toy].format(folder=args.output / folder_of(label))
            words = ["-m", f"benchmarks.{name.split()[0]}", *shlex.split(options)]
            found[label] = backend, words
    return found


def folder_of(label):
    return label.replace(" ", "_")


def main(arguments=None):
    args = parse_arguments(arguments)
    args.output = args.output.resolve()
    path, here = args.output / "results.json", machine()
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for label, (backend, words) in jobs(args).items():
        command = shlex.join([f"KERAS_BACKEND={backend}", "python", *words])
        done = results.get(label, {})
        if (done.get("command"), done.get("machine"), done.get("error")) == (command, here, None):
            print(f"== {label}: finished {done['date']}", flush=True)
            continue
        print(f"== {label}: {command}", flush=True)
        if label not in ALL_AT_ONCE:  # which goes on with its own folder
            shutil.rmtree(args.output / folder_of(label), ignore_errors=True)
        log = args.output / f"{folder_of(label)}.txt"
        error, seconds = run_logged(
            [sys.executable, *words], log, 3600 * args.hours, {"KERAS_BACKEND": backend}
        )
        print(f"   {error or 'finished'}, {seconds:.0f} s; {log}", flush=True)
        results[label] = {
            "command": command,
            "machine": here,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": seconds,
            "error": error,
            "says": last_line(log),
            "output": log.name,
        }
        write_text(path, json.dumps(results, indent=2) + "\n")
        write_text(args.output / "results.md", markdown(results))
    print(markdown(results))


def last_line(log):
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def markdown(results):
    lines = ["| benchmark | its last line | seconds | date | machine | command | output |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for label, row in results.items():
        says = f"failed: {row['error']}" if row["error"] else row["says"]
        lines.append(
            f"| {label} | {cell(says)} | {row['seconds']:.0f} | {row['date']} "
            f"| {cell(row['machine'])} | `{cell(row['command'], 400)}` "
            f"| [{row['output']}]({row['output']}) |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

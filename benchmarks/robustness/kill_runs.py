"""Kill training recipes at random times, let them go on, and compare with a run nobody killed.

    python -m benchmarks.robustness.kill_runs --recipe tokenizer semantic text --kills 50

Each recipe trains a small model. A process is killed (kill -9) after a random time, between its
start and its end: while it imports, trains, measures or writes. The same command with --resume
takes over, and is killed again, until one comes to its end. Then preset, log and pictures must be
those of a run that was never killed, byte for byte but for the archive's own dates.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).parent.parent.parent
SIZES = {
    "tokenizer": (
        "train_tokenizer.py --image-size 32 --base-channels 8 --channel-multipliers 1 2 "
        "--latent-channels 8 --codebook-size 16 --embedding-dim 8 --ema 0.9 --discriminator"
    ),
    "semantic": (
        "train_semantic_to_image.py --image-size 16 --num-classes 16 --condition tokens "
        "--label-steps 6 --layers 1 --heads 2 --width 16 --dropout 0.1 --test-examples 8 "
        "--tokenizer {folder}/tokenizer --cache {output}.tokens"
    ),
    "text": (
        "train_text_to_image.py --image-size 16 --channels 8 --multipliers 1 --attention-levels "
        "--res-blocks 1 --heads 2 --text-layers 1 --dropout 0.1 --ema 0.9 --test-examples 8 "
        "--tokenizer {folder}/tokenizer"
    ),
}
DATA = "--data npz:{folder}/scenes.npz --batch-size 4"
TRAINING = "--steps 18 --epoch-steps 3 --output {output}"


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--kills", type=int, default=50, help="of each recipe [50]")
    parser.add_argument("--seed", type=int, default=0, help="of the times [0]")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        prepare(folder)
        failures = [f for name in args.recipe for f in kill(name, folder, args.kills, args.seed)]
    return int(bool(failures))


def prepare(folder):
    """scenes.npz and an untrained tokenizer."""
    from keras_regvq import data, models, quantizers

    scenes = data.scenes(40, size=16)
    captions = np.array(scenes["captions"], dtype="U")
    np.savez(
        folder / "scenes.npz", captions=captions, images=scenes["images"], labels=scenes["labels"]
    )
    quantizer = quantizers.VectorQuantizer(16, 8)
    models.ImageTokenizer(16, quantizer, 8, (1, 2), 1, (), 8).save_to_preset(
        str(folder / "tokenizer")
    )


def kill(name, folder, kills, seed):
    """Kill one recipe so often, print what became of it, and return what went wrong."""
    start = time.monotonic()
    whole = folder / f"{name}_whole"
    code, output = run(command(name, folder, whole))
    seconds = time.monotonic() - start
    if code:
        raise SystemExit(f"The {name} recipe fails by itself:\n{output}")
    times, failures, done, runs, equal = random.Random(seed), [], 0, 0, 0
    while done < kills:
        target = folder / f"{name}_{runs}"
        first, runs = True, runs + 1
        # Up to 8 kills a run, so that some come late: each process needs its start-up again.
        for attempt in range(9):
            limit = times.uniform(0, 1.1 * seconds) if attempt < 8 and done < kills else None
            arguments = command(name, folder, target) + ([] if first else ["--resume"])
            code, output = run(arguments, limit)
            first = False
            if code != -signal.SIGKILL:
                break
            done += 1
        problems = [f"exit status {code}: {output[-600:]}"] if code else differences(whole, target)
        failures += [f"{name}, run {runs}: {problem}" for problem in problems]
        equal += not problems
        print(f"{name}: {done} kills, {runs} runs, {equal} ended equal", flush=True)
        shutil.rmtree(target)
        shutil.rmtree(f"{target}.tokens", ignore_errors=True)
    print("\n".join(failures) or f"{name}: nothing lost, all went on, all ended bit-equal")
    return failures


def command(name, folder, output):
    text = f"{SIZES[name]} {DATA} {TRAINING}".format(folder=folder, output=output)
    script, *options = text.split()
    return [sys.executable, str(ROOT / "recipes" / script), *options]


def run(arguments, limit=None):
    """Run, and kill after `limit` seconds: (exit status, what was printed)."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            arguments, stdout=printed, stderr=subprocess.STDOUT, env=environment
        )
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        printed.seek(0)
        return process.returncode, printed.read().decode(errors="replace")


def differences(one, other):
    """What differs between the folders of two runs, as a list of texts."""
    found = []
    if (one / "log.csv").read_bytes() != (other / "log.csv").read_bytes():
        found.append(f"another log:\n{(other / 'log.csv').read_text()}")
    names = [sorted(p.name for p in (run / "pictures").iterdir()) for run in (one, other)]
    if names[0] != names[1]:
        found.append(f"other pictures: {names[1]}")
    for name in names[0] if names[0] == names[1] else ():
        if (one / "pictures" / name).read_bytes() != (other / "pictures" / name).read_bytes():
            found.append(f"another picture {name}")
    results = [json.loads((run / "results.json").read_text()) for run in (one, other)]
    for part in ("numbers", "history"):
        if results[0][part] != results[1][part]:
            found.append(f"other {part} in the report: {results[1][part]}")
    kept = sorted(path.name for path in other.iterdir())
    if kept != sorted(path.name for path in one.iterdir()):
        found.append(f"other files: {kept}")
    weights = [_weights(run / "preset" / "model.weights.h5") for run in (one, other)]
    if weights[0].keys() != weights[1].keys():
        return [*found, "other weights by name"]
    unequal = [name for name in weights[0] if weights[0][name] != weights[1][name]]
    return [*found, *(f"another weight {name}" for name in unequal[:3])]


def _weights(path):
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tobytes()

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


if __name__ == "__main__":
    sys.exit(main())

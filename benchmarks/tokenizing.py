"""A data set into tokens: one process, workers of Ray Data, and a loop over diffusers' VQModel.

    python -m benchmarks.tokenizing
    python -m benchmarks.tokenizing --count 2000 --workers 2 --kills 0 --output runs/tokenizing

Each way draws and encodes the same procedural scenes of 64 pixels. diffusers' network has its usual
layout, convolutions at full resolution, of about as many parameters; its images come from a PyTorch
DataLoader with as many workers. Images a second count from the first image; the peak memory is the
largest of a single process. Then runs with workers are killed: a worker, or the command with all
that it started, at random times. The same command goes on, and the shards must be those of the run
that nobody killed, byte for byte.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

from keras_regvq.files.replacing import write_text

PER_SHARD = 500


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--count", type=int, default=20_000, help="scenes [20000]")
    add("--few", type=int, default=2_000, help="scenes of the run that shows memory [2000]")
    add("--workers", type=int, default=2, help="processes of Ray Data [2]")
    add("--kills", type=int, default=3, help="of a worker, and as many of the command [3]")
    add("--seed", type=int, default=0, help="of the times of the kills [0]")
    add("--output", type=Path, default=Path("runs/tokenizing"), help="folder; must be new")
    args = parser.parse_args(arguments)
    args.output.mkdir(parents=True)
    results = {
        f"one process, {args.few:,}": tokenize(args, args.few, "few"),
        f"one process, {args.count:,}": tokenize(args, args.count, "one"),
        f"{args.workers} workers, {args.count:,}": tokenize(args, args.count, "ray", args.workers),
        f"diffusers and a DataLoader, {args.few:,}": watched(peer_command(args)),
    }
    for name, row in results.items():
        print(f"{name}: {row['images_per_second']:.1f} images/s, {row['megabytes']:.0f} MB")
    results["kills"] = kill(args)
    print(f"{len(results['kills'])} kills: shards equal after each")
    write_text(args.output / "results.json", json.dumps(results, indent=2))


def command(args, count, name, workers=None):
    words = [sys.executable, "-m", "keras_regvq", "tokenize", "--data", "scenes"]
    words += ["--preset", "regvq_scenes_64", "--num-examples", count]
    words += ["--examples-per-shard", PER_SHARD, "--output", args.output / name]
    return [str(word) for word in words + (["--workers", workers] if workers else [])]


def tokenize(args, count, name, workers=None):
    return watched(command(args, count, name, workers))


def peer_command(args):
    words = [sys.executable, "-m", "benchmarks.tokenizing_peer", args.few, args.workers]
    return [str(word) for word in words]


def watched(words):
    """Images a second that a command says, and the peak of the largest of its processes."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    peak = [0]
    thread = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    thread.start()
    said = process.communicate()[0]
    thread.join()
    if process.returncode:
        raise SystemExit(f"error: {' '.join(words)} ended with {process.returncode}")
    speed = float(re.search(r"([\d.]+) images/s", said)[1])
    return {"images_per_second": speed, "megabytes": peak[0] / 2**20}


def _watch(process, peak):
    while process.poll() is None:
        for one in _family(process.pid):
            peak[0] = max(peak[0], _own_memory(one))
        time.sleep(0.5)


def _family(pid):
    """A process and all that it started, Ray's too."""
    import psutil

    try:
        one = psutil.Process(pid)
        return [one, *one.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _own_memory(process):
    import psutil

    try:
        memory = process.memory_info()
        return memory.rss - memory.shared
    except psutil.NoSuchProcess:
        return 0


def kill(args):
    """Kill workers and commands; returns when and what."""
    import psutil

    generator, kills = random.Random(args.seed), []
    expected = shards(args.output / "few")
    for number in range(2 * args.kills):
        name, of_worker = f"killed_{number}", number % 2 == 0
        process = subprocess.Popen(command(args, args.few, name, args.workers))
        while not list((args.output / name).glob("*.parquet")):
            time.sleep(0.1)
        seconds = generator.uniform(0, 2)
        time.sleep(seconds)
        found = _family(process.pid)
        workers = [one for one in found if of_worker and "ray::" in " ".join(one.cmdline())]
        for one in workers[:1] or found:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue
        process.wait()
        made = len(shards(args.output / name))
        if process.returncode or not of_worker:
            subprocess.run(command(args, args.few, name, args.workers), check=True)
        if shards(args.output / name) != expected:
            raise SystemExit(f"error: {name}: other shards than those of the run nobody killed")
        kills.append({"worker": bool(workers), "after": seconds, "shards then": made})
    return kills


def shards(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


if __name__ == "__main__":
    main()

"""Kill a process while it saves a preset over another: is one of the two there, whole?

python -m benchmarks.robustness.kill_saves --kills 50

A second part lets the disk be full (files may not grow beyond a limit) in place of the kill.
"""

import argparse
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from keras.utils import Progbar

import keras_regvq
from benchmarks.robustness import tiny_presets


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--full-disks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    chance = random.Random(args.seed)
    old, new = tiny_presets.tokenizer(), tiny_presets.tokenizer(16, levels=3, seed=1)
    expected = {"old": old.encode(tiny_presets.images()), "new": new.encode(tiny_presets.images())}
    with tempfile.TemporaryDirectory() as folder:
        preset = Path(folder) / "preset"
        old.save_to_preset(preset)
        (preset / "README.md").write_text("mine")
        started = time.perf_counter()
        new.save_to_preset(preset)
        seconds = time.perf_counter() - started
        size = (preset / "model.weights.h5").stat().st_size

        def kill(process):
            time.sleep(chance.uniform(0, 1.2) * seconds)
            os.kill(process, signal.SIGKILL)

        def fill_disk():
            limit = chance.randrange(size)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        ends = Counter(
            saved_over(old, new, preset, expected, lambda: None, kill) for _ in turns(args.kills)
        )
        full = Counter(
            saved_over(old, new, preset, expected, fill_disk, lambda process: None)
            for _ in turns(args.full_disks)
        )
    print(f"{args.kills} kills: {dict(ends)}")
    print(f"{args.full_disks} full disks: {dict(full)}")
    return int(set(ends) - {"old", "new"} != set() or set(full) - {"old, an error"} != set())


def turns(count):
    progress = Progbar(count) if count else None
    for turn in range(count):
        yield turn
        progress.update(turn + 1)


def saved_over(old, new, preset, expected, prepare, disturb):
    """Save `new` over `old` in a process of its own; say what is there afterwards."""
    old.save_to_preset(preset)
    process = os.fork()
    if process == 0:
        prepare()
        try:
            new.save_to_preset(preset)
            os._exit(0)
        except OSError as error:
            os._exit(3 if str(preset) in str(error) else 4)
    disturb(process)
    status = os.waitpid(process, 0)[1]
    error = {3: ", an error", 4: ", an error that names no file"}
    said = error.get(os.waitstatus_to_exitcode(status), "")
    try:
        tokens = keras_regvq.from_preset(preset).encode(tiny_presets.images())
    except (ValueError, OSError) as loss:
        return f"lost ({loss})"
    found = [name for name, wanted in expected.items() if np.array_equal(wanted, tokens)]
    if (preset / "README.md").read_text() != "mine":
        return "another file is lost"
    return f"{found[0]}{said}" if found else "lost (a mixture)"


if __name__ == "__main__":
    sys.exit(main())

"""The seconds until a preset's first tokens, in new processes, beside plain PyTorch.

    KERAS_BACKEND=jax python -m benchmarks.start_up

Ours imports keras_regvq, loads `regvq_scenes_64` and encodes one picture of 64 pixels; what each
part takes is printed. The peer imports PyTorch, builds an autoencoder of patches of the preset's
sizes, loads its weights from a file and takes the nearest codes. The processes take turns. JAX's
persistent compilation cache is off; the files of both are in the system's cache after a first run
of each, which is not counted. Run it alone on the machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.own_process import ROOT

OURS = """
import json, time
start = time.perf_counter()
marks = {}
def mark(name):
    marks[name] = time.perf_counter() - start
import keras; mark("import keras")
import keras_hub; mark("import keras_hub")
import keras_regvq, numpy as np
tokenizer = keras_regvq.from_preset("regvq_scenes_64"); mark("from_preset")
tokens = tokenizer.encode(np.zeros((1, 64, 64, 3), "uint8")); mark("encode")
assert tokens.shape == (1, 16, 16)
print(json.dumps(marks))
"""

PEER = """
import json, sys, time
start = time.perf_counter()
import torch
from benchmarks.plain_torch.patch_autoencoder import PatchAutoencoder
network, codes = PatchAutoencoder(16), torch.randn(512, 16)
path = sys.argv[1]
if len(sys.argv) > 2:
    torch.save(network.state_dict(), path)
else:
    network.load_state_dict(torch.load(path, weights_only=True))
    with torch.no_grad():
        features = network.encode(torch.zeros(1, 3, 64, 64)).flatten(2).transpose(1, 2)
        tokens = torch.cdist(features, codes[None]).argmin(-1)
    assert tokens.shape == (1, 256)
print(json.dumps({"all": time.perf_counter() - start}))
"""


def run(code, *arguments):
    """What a new Python prints as its last line: {part: seconds since it started the code}."""
    left_out = ("JAX_COMPILATION_CACHE_DIR",)
    environment = {k: v for k, v in os.environ.items() if k not in left_out}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    words = [sys.executable, "-c", code, *arguments]
    printed = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(printed.stdout.splitlines()[-1])


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.pt")
        run(PEER, weights, "save")
        ours, theirs = [], []
        for _ in range(args.rounds + 1):
            ours.append(run(OURS))
            theirs.append(run(PEER, weights)["all"])
    parts = {name: statistics.median(marks[name] for marks in ours[1:]) for name in ours[0]}
    before = 0.0
    for name, seconds in parts.items():
        print(f"{name}: {seconds - before:.2f} s")
        before = seconds
    theirs = statistics.median(theirs[1:])
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    print(f"keras_regvq on {backend}: {before:.2f} s, plain PyTorch: {theirs:.2f} s")
    print(f"ratio: {before / theirs:.2f}")


if __name__ == "__main__":
    main()

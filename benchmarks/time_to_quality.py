"""Held-out quality against CPU seconds: ours on each backend, and plain PyTorch with
vector-quantize-pytorch's quantizers, on the same network and the same images.

    python -m benchmarks.time_to_quality --output runs/time_to_quality
    python -m benchmarks.time_to_quality --data folder:photographs --steps 1000 --output runs/photos

Ours are --quantizers with Muon on --backends: Reg-VQ with cosine logits; cosine codes with moving
averages; SimVQ. Peers train with Adam, or with Muon too ("-muon");
"none" has no quantizer, and WebP's line takes as many bytes as the tokens. Each curve has a process
of its own with one thread, one after the other: run it alone on the machine. Writes results.json,
results.md, curves.png and pictures.png. A curve that is in results.json already is not trained
again, unless --overwrite says so.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.quality_curve import is_ours
from keras_regvq.checks.arguments import refuse
from keras_regvq.files.replacing import replacing, write_text
from recipes.shared.options import adding_to, command_parser, integer

BACKENDS = {"torch": "torch", "tensorflow": "tensorflow", "jax": "jax"}
OURS = ("regvq", "cosine", "simvq")
PEERS = ("cosine-vq", "cosine-vq-muon", "euclidean-vq", "fsq", "lfq", "none")
ROOT = Path(__file__).parent.parent
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "JAX_PLATFORMS": "cpu",
}
# No part of what is measured: a file with these may be gone on with.
NOT_SETTINGS = ("output", "backends", "quantizers", "peers", "overwrite")


def parse_arguments(arguments=None):
    parser = command_parser(__doc__)
    option = adding_to(parser)
    installed = [name for name in BACKENDS if importlib.util.find_spec(BACKENDS[name])]
    option("--data", "scenes", "images: scenes, or folder:DIR")
    option("--steps", 400, "steps of each curve", type=integer(1))
    option("--batch-size", 8, "images a step", type=integer(1))
    option("--codes", 256, "codes of the codebook; fsq has 240", type=integer(2))
    option("--backends", installed, "ours on these", type=str, nargs="*", choices=list(BACKENDS))
    option("--quantizers", ["regvq", "cosine"], "ours", type=str, nargs="*", choices=OURS)
    option("--peers", list(PEERS), "plain PyTorch", type=str, nargs="*", choices=PEERS)
    option("--output", Path("runs/time_to_quality"), "folder to write")
    option("--seed", 0, "random seed", type=integer(0))
    option("--every", 50, "steps between evaluations", type=integer(1))
    option("--train-images", 2400, "at most so many", type=integer(1))
    option("--test-images", 256, "at most so many", type=integer(1))
    option("--image-size", 64, "side in pixels", type=integer(16))
    option("--width", 128, "channels of the network", type=integer(1))
    parser.add_argument("--overwrite", action="store_true", help="train all curves again")
    args = parser.parse_args(arguments)
    if "lfq" in args.peers and args.codes & (args.codes - 1):
        parser.error("--codes: lfq has a power of two; leave it out of --peers")
    args.every = min(args.every, args.steps)
    if args.steps % args.every:
        parser.error(f"--steps: a multiple of --every {args.every}")
    if args.image_size % 4:
        parser.error("--image-size: a multiple of 4, the patches' side")
    return args


def load_images(args):
    """dict of uint8 arrays, "train" and "test"."""
    import keras_regvq

    images = {}
    for split, count in (("train", args.train_images), ("test", args.test_images)):
        if args.data == "scenes":  # which NumPy draws, with no need of TensorFlow
            scenes = keras_regvq.data.scenes(count, size=args.image_size, split=split)
            images[split] = scenes["images"]
            continue
        data = keras_regvq.data.load(
            args.data, split, args.image_size, shuffle=False, drop_remainder=False,
            num_examples=count,
        )  # fmt: skip
        images[split] = np.concatenate([batch["images"] for batch in data.as_numpy_iterator()])
    if len(images["train"]) < args.batch_size:
        refuse("batch_size", args.batch_size, f"at most {len(images['train'])}, all images")
    return images


def read_results(path, settings):
    """What an earlier run has left, if it had the same settings.

    Raises:
        ValueError: naming the file, if it is damaged or of other settings.
    """
    if not path.exists():
        return {"settings": settings, "curves": {}}
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        earlier = results["settings"]
        _ = [curve["points"][-1]["psnr"] for curve in results["curves"].values()]
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}): mend or remove it") from None
    if earlier != settings:
        other = sorted(n for n in settings if earlier.get(n) != settings[n])
        raise ValueError(
            f"{path} is of a run with other settings ({', '.join(other)}): name another --output, "
            "or give --overwrite"
        )
    return results


def run_curve(name, data, work):
    """Train and measure one method in a process of its own; returns its numbers and pictures."""
    print(f"== {name}", flush=True)
    flags = os.environ.get("XLA_FLAGS", "")
    backend = name.rpartition("-")[2] if is_ours(name) else "torch"
    environment = {
        **os.environ,
        **ONE_THREAD,
        "KERAS_BACKEND": backend,
        "XLA_FLAGS": f"{flags} --xla_cpu_multi_thread_eigen=false".strip(),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *(path for path in sys.path if path)]),
    }
    command = [sys.executable, "-m", "benchmarks.quality_curve", name]
    subprocess.run([*command, work / "settings.json", data, work], env=environment, check=True)
    return json.loads((work / f"{name}.json").read_text()), np.load(work / f"{name}.npy")


def main(arguments=None):
    args = parse_arguments(arguments)
    settings = {k: v for k, v in vars(args).items() if k not in NOT_SETTINGS}
    path = args.output / "results.json"
    if args.overwrite:
        path.unlink(missing_ok=True)
    results = read_results(path, settings)
    needed = set(args.peers) - {"none"} - results["curves"].keys()
    if needed and not importlib.util.find_spec("vector_quantize_pytorch"):
        raise ValueError(
            "vector-quantize-pytorch is not installed: pip install vector-quantize-pytorch, "
            "or give --peers none"
        )

    from benchmarks.quality_curve import SHOWN, measure
    from benchmarks.quality_report import webp_line, write_report

    images = load_images(args)
    results["webp"], decoded = webp_line(images["test"], args.codes, measure)
    pictures = args.output / "reconstructions"
    pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        np.savez(work / "images.npz", **images)
        (work / "settings.json").write_text(json.dumps(settings))
        ours = [f"{kind}-{b}" for kind in args.quantizers for b in args.backends]
        for name in [*ours, *args.peers]:
            if name in results["curves"]:
                continue
            results["curves"][name], reconstructions = run_curve(name, work / "images.npz", work)
            with replacing(pictures / f"{name}.npy") as part:
                np.save(part, reconstructions)
            write_text(path, json.dumps(results, indent=2) + "\n")
    rows = {"originals": images["test"][:SHOWN], "WebP": decoded[:SHOWN]}
    for name in results["curves"]:
        if (pictures / f"{name}.npy").exists():
            rows[name] = np.load(pictures / f"{name}.npy")
    write_text(path, json.dumps(results, indent=2) + "\n")
    write_report(args.output, results, rows)
    print((args.output / "results.md").read_text())


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")

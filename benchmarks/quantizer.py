"""Time and peak memory of a quantizer's forward and backward pass, beside its peers.

    KERAS_BACKEND=torch python -m benchmarks.quantizer

2,048 positions (8 x 16 x 16), width 64, codebooks from 1,024 to 65,536 codes. Each measurement is
a process of its own, so that its peak memory is its own: what the process gained at its peak over
what it held before the first pass. The one-hot peer is Reg-VQ written down directly in PyTorch
(benchmarks/plain_torch); vector-quantize-pytorch needs `pip install vector-quantize-pytorch`.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

SIZES = (1024, 4096, 16384, 65536)
GRID, WIDTH = (8, 16, 16), 64
METHODS = {
    "regvq": "keras_regvq RegularizedQuantizer",
    "regvq_onehot": "one-hot Reg-VQ, plain PyTorch",
    "vq": "keras_regvq VectorQuantizer",
    "vq_peer": "vector-quantize-pytorch VectorQuantize",
}


def keras_step(quantizer, width=WIDTH):
    """A function that runs forward and backward of a Keras quantizer, compiled if possible."""
    import keras
    import numpy as np

    rng = np.random.default_rng(0)
    shape = (*GRID, width)
    features, upstream = (rng.normal(size=shape).astype("float32") for _ in range(2))
    quantizer.build(shape)
    backend = keras.backend.backend()

    def objective(result, upstream):
        return keras.ops.sum(result["embeddings"] * upstream) + sum(result["losses"].values())

    if backend == "torch":
        import torch

        features, upstream = map(keras.ops.convert_to_tensor, (features, upstream))
        weights = [features.requires_grad_(), *(v.value for v in quantizer.trainable_variables)]

        def step():
            loss = objective(quantizer(features, training=True), upstream)
            torch.autograd.grad(loss, weights)

    elif backend == "tensorflow":
        import tensorflow as tf

        features, upstream = tf.constant(features), tf.constant(upstream)
        weights = [v.value for v in quantizer.trainable_variables]

        @tf.function  # without XLA, as Keras trains on a CPU
        def gradients():
            with tf.GradientTape() as tape:
                tape.watch(features)
                loss = objective(quantizer(features, training=True), upstream)
            return [tf.convert_to_tensor(g) for g in tape.gradient(loss, [features, *weights])]

        def step():
            gradients()[0].numpy()

    else:
        import jax

        fixed = [v.value for v in quantizer.non_trainable_variables]

        def loss(features, weights):
            result, _ = quantizer.stateless_call(weights, fixed, features, training=True)
            return objective(result, upstream)

        gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))
        weights = [v.value for v in quantizer.trainable_variables]

        def step():
            jax.block_until_ready(gradients(features, weights))

    return step


def build_step(method, size):
    if method in ("regvq", "vq"):
        from keras_regvq.quantizers import RegularizedQuantizer, VectorQuantizer

        if method == "vq":
            return keras_step(VectorQuantizer(size, WIDTH))
        return keras_step(
            RegularizedQuantizer(size, WIDTH, prior_scope="image", prior_estimator="hard", seed=0)
        )

    import torch

    torch.manual_seed(0)
    batch, height, width = GRID
    if method == "regvq_onehot":
        from benchmarks.plain_torch.quantizers import RegularizedQuantizer as OneHot

        quantizer = OneHot(size, WIDTH, prior_scope="image", prior_estimator="hard")
        features = torch.randn(batch, WIDTH, height, width, requires_grad=True)

        def forward():
            result = quantizer(features)
            return result["embeddings"], sum(result["losses"].values())

    else:
        from vector_quantize_pytorch import VectorQuantize

        # Its codebook learned by gradient, as ours: the default moving average has no backward.
        quantizer = VectorQuantize(
            dim=WIDTH, codebook_size=size, learnable_codebook=True, ema_update=False
        )
        features = torch.randn(batch, height * width, WIDTH, requires_grad=True)

        def forward():
            embeddings, _, loss = quantizer(features)
            return embeddings, loss.sum()

    return torch_step(quantizer, features, forward)


def torch_step(quantizer, features, forward):
    """A pass of a PyTorch quantizer and back, `forward` giving its embeddings and its loss."""
    import torch

    upstream = torch.randn_like(forward()[0])
    weights = [features, *(p for p in quantizer.parameters() if p.requires_grad)]

    def step():
        embeddings, loss = forward()
        torch.autograd.grad((embeddings * upstream).sum() + loss, weights, allow_unused=True)

    return step


def measure_step(step, repeats):
    """Run in a process of its own: print seconds a pass and the peak memory in bytes.

    Memory is watched in passes of its own: looking at it takes a processor's time.
    """
    baseline = resident_bytes()
    peak, done = [baseline], threading.Event()

    def watch():  # the high-water mark of the process would include its imports
        while not done.wait(0.002):
            peak[0] = max(peak[0], resident_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    step()  # compiles; the allocator's first touches
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    watcher.start()
    start = time.perf_counter()
    while time.perf_counter() - start < max(0.5, 2 * seconds[-1]):
        step()
    done.set()
    watcher.join()
    print(json.dumps({"seconds": seconds, "peak": peak[0] - baseline}))


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2, help="processes a method, in turns")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        return measure_step(build_step(args.measure[0], int(args.measure[1])), args.repeats)

    print("| codes | method | seconds | peak MB | time / one-hot | memory / one-hot |")
    print("|---|---|---|---|---|---|")
    for size in args.sizes:
        results = {method: {"seconds": [], "peak": 0} for method in METHODS}
        for _ in range(args.rounds):
            for method, result in results.items():
                command = [sys.executable, "-m", "benchmarks.quantizer", "--measure", method]
                command += [str(size), "--repeats", str(args.repeats)]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                measured = json.loads(output.splitlines()[-1])
                result["seconds"] += measured["seconds"]
                result["peak"] = max(result["peak"], measured["peak"])
        peer = results["regvq_onehot"]
        for method, result in results.items():
            seconds = statistics.median(result["seconds"])
            time_ratio = seconds / statistics.median(peer["seconds"])
            print(
                f"| {size} | {METHODS[method]} | {seconds:.3f} | {result['peak'] / 1e6:.0f} "
                f"| {time_ratio:.2f} | {result['peak'] / peer['peak']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

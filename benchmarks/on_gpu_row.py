"""One row of `benchmarks.on_gpu`, in a process of its own.

    python -m benchmarks.on_gpu_row SETTINGS RESULT

SETTINGS is a JSON dict: "task", "side" (jax, torch, plain, compiled or peer), "precision", "codes",
"toy". RESULT is the JSON file to write: seconds of each repetition after the first two, which
compile, and the peak of the device memory, weights included.
"""

import importlib.util
import json
import os
import sys
import time
from argparse import Namespace
from importlib.metadata import version
from pathlib import Path

import keras

from keras_regvq.files.replacing import write_text

TRAINING = {"image_size": 256, "batch_size": 8, "base_channels": 64, "codebook_size": 1024}
TOY_TRAINING = {"image_size": 32, "batch_size": 1, "base_channels": 8, "codebook_size": 16}
SAMPLING = {"length": 256, "batch_size": 8, "layers": 8, "heads": 8, "width": 512, "codes": 1024}
TOY_SAMPLING = {"length": 16, "batch_size": 1, "layers": 1, "heads": 2, "width": 8, "codes": 16}
DIFFUSION = {"grid": 16, "batch_size": 8, "steps": 25}
TOY_DIFFUSION = {"grid": 4, "batch_size": 1, "steps": 2}


def build(settings):
    """A function of the repetition's number that does the work once."""
    task, side, toy = settings["task"], settings["side"], settings["toy"]
    if task == "training step":
        return _training(Namespace(**(TOY_TRAINING if toy else TRAINING), **settings), side)
    if task == "quantizer":
        from benchmarks.quantizer import build_step

        return _repeated(
            build_step("regvq_onehot" if side == "plain" else "regvq", settings["codes"])
        )
    if task == "autoregressive sampling":
        from benchmarks import sample_autoregressive as module

        args, peer = TOY_SAMPLING if toy else SAMPLING, "transformers"
    else:
        from benchmarks import sample_diffusion as module

        args, peer = TOY_DIFFUSION if toy else DIFFUSION, "diffusers"
    return module.SAMPLERS[peer if side == "peer" else "keras_regvq"](Namespace(**args))


def _training(args, side):
    from benchmarks import train_step

    args.multipliers, args.embedding = train_step.MULTIPLIERS, train_step.EMBEDDING
    images = train_step.images_of(args)
    if side in ("jax", "torch"):
        return _repeated(train_step.keras_step(args, images))
    return _repeated(train_step.plain_step(args, images, compiled=side == "compiled"))


def _repeated(step):
    return lambda number: step()


class Device:
    """The GPU as a backend sees it, or the CPU of a toy run."""

    def __init__(self, backend, plain, toy):
        self.backend = backend
        if backend == "jax":
            import jax

            self.name = next((d.device_kind for d in jax.devices() if d.platform == "gpu"), None)
        else:
            import torch

            torch.set_float32_matmul_precision("high")  # TF32
            self.name = torch.cuda.get_device_name() if torch.cuda.is_available() else None
            if plain and self.name:  # Keras finds the GPU by itself
                torch.set_default_device("cuda")
        if self.name is None and not toy:
            raise RuntimeError(f"{backend} sees no GPU")

    def wait(self, result):
        """Until all that was asked of the device is done."""
        if self.backend == "jax":
            import jax

            jax.block_until_ready(result)
        elif self.name:
            import torch

            torch.cuda.synchronize()

    def peak_bytes(self):
        if not self.name:
            return None
        if self.backend == "jax":
            import jax

            return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
        import torch

        return torch.cuda.max_memory_allocated()


def measure(settings):
    backend = "jax" if settings["side"] == "jax" else "torch"
    keras.config.disable_traceback_filtering()  # it would hide the error's own line
    device = Device(backend, settings["side"] in ("plain", "compiled", "peer"), settings["toy"])
    work = build(settings)
    first, seconds, until = None, [], None
    most, longest = (2, 0) if settings["toy"] else (30, 8)
    for number in range(2 + most):
        start = time.perf_counter()
        device.wait(work(number))
        taken = time.perf_counter() - start
        if number == 0:
            first = taken
            print(f"first {first:.2f} s", flush=True)
        elif number > 1:
            seconds.append(taken)
            if len(seconds) > 2 and time.perf_counter() > until:
                break
        until = until or time.perf_counter() + longest
    return {
        "device": device.name or "CPU",
        "first": first,
        "seconds": seconds,
        "peak_bytes": device.peak_bytes(),
    }


def report():
    """What the environment has: versions, and what this process's backend sees."""
    backend = os.environ["KERAS_BACKEND"]
    if backend == "jax":
        import jax

        seen = [f"{d.platform} {d.device_kind}" for d in jax.devices()]
    elif backend == "tensorflow":
        import tensorflow as tf

        seen = [d.name for d in tf.config.list_physical_devices("GPU")]
    else:
        import torch

        seen = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        seen += [f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"]
    names = [name for name in ("keras", backend) if importlib.util.find_spec(name)]
    return {"sees": seen, "versions": {name: version(name) for name in names}}


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    found = report() if asked["task"] == "environment" else measure(asked)
    write_text(Path(sys.argv[2]), json.dumps(found))

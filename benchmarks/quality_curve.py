"""One curve of `benchmarks.time_to_quality`, in a process of its own.

    KERAS_BACKEND=torch python -m benchmarks.quality_curve NAME SETTINGS DATA OUTPUT

SETTINGS is a JSON file, DATA an npz file of "train" and "test", uint8 (n, H, W, 3). Writes into the
folder OUTPUT what was measured (NAME.json) and the first reconstructions (NAME.npy). The seconds
are the process's own on the CPU, from building the network on, with compiling; what the evaluations
take is left out, and so are imports.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

SHOWN = 10


def is_ours(name):
    """Whether a curve is ours, QUANTIZER-BACKEND, and not a peer's."""
    return name.rpartition("-")[2] in ("torch", "tensorflow", "jax")


class Clock:
    """CPU seconds of this process, which stand still while something is evaluated."""

    def __init__(self):
        self.start = time.process_time()

    def seconds(self):
        return time.process_time() - self.start

    def leave_out(self, since):
        """Leave out what has passed since `seconds()` was `since`."""
        self.start += self.seconds() - since


def batches(images, size, seed):
    """Batches without end, each pass in another order; the same for every method."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(images))
        for start in range(0, len(order) - size + 1, size):
            yield images[order[start : start + size]]


def measure(images, reconstructions, tokens, codes):
    """dict of psnr (dB), ssim, and of tokens (or None) codebook_usage and codebook_perplexity."""
    from keras_regvq.metrics import PSNR, SSIM

    numbers = {}
    for name, metric in (("psnr", PSNR()), ("ssim", SSIM())):
        for start in range(0, len(images), 32):
            metric.update_state(
                images[start : start + 32].astype("float32") / 255,
                np.asarray(reconstructions[start : start + 32], "float32"),
            )
        numbers[name] = float(metric.result())
    if tokens is not None:
        shares = np.bincount(tokens.ravel(), minlength=codes) / tokens.size
        used = shares[shares > 0]
        numbers["codebook_usage"] = len(used) / codes
        numbers["codebook_perplexity"] = float(np.exp(-(used * np.log(used)).sum()))
    return numbers


class Curve:
    """Points of a method, measured every so many steps."""

    def __init__(self, settings, test, codes):
        self.settings, self.test, self.codes = settings, test, codes
        self.clock, self.points, self.first_step = Clock(), [], None

    def after_step(self, step):
        """To be called after each step, from 1."""
        if step == 1:
            self.first_step = self.clock.seconds()

    def add_point(self, step, reconstruct):
        """Measure; `reconstruct` is a function of images: reconstructions, and tokens or None."""
        seconds = self.clock.seconds()
        self.reconstructions, tokens = reconstruct(self.test)
        numbers = measure(self.test, self.reconstructions, tokens, self.codes)
        self.points.append({"step": step, "seconds": seconds, **numbers})
        print(f"  step {step}: {seconds:.1f} s, {numbers['psnr']:.2f} dB", flush=True)
        self.clock.leave_out(seconds)


def our_quantizer(kind, codes, seed):
    """With codes of 16 numbers; cosine codes have the settings of the peer's, 8 numbers too."""
    from keras_regvq import quantizers

    if kind == "simvq":
        return quantizers.SimVQQuantizer(codes, 16)
    if kind == "cosine":
        upkeep = {"ema": 0.8, "codebook_start": "kmeans", "dead_code_threshold": 2.0}
        gradients = {"commitment_weight": 1.0, "rotation_trick": True}
        return quantizers.VectorQuantizer(
            codes, 8, normalize=True, seed=seed, **upkeep, **gradients
        )
    sampling = {"logits": "cosine", "prior_weight": 0.01, "seed": seed}
    return quantizers.RegularizedQuantizer(codes, 16, **sampling)


def train_ours(kind, settings, train, test):
    import keras

    from keras_regvq.models import ImageTokenizer
    from keras_regvq.training import Muon, TokenizerTrainer

    keras.utils.set_random_seed(settings["seed"])
    curve = Curve(settings, test, settings["codes"])
    tokenizer = ImageTokenizer(
        train.shape[1],
        our_quantizer(kind, settings["codes"], settings["seed"]),
        base_channels=settings["width"],
        channel_multipliers=(1,),
        num_res_blocks=0,
        attention_resolutions=(),
        middle_attention=False,
        latent_channels=64,
        patch_size=4,
    )
    trainer = TokenizerTrainer(tokenizer)
    decay = keras.optimizers.schedules.CosineDecay(0.02, settings["steps"], alpha=0.05)
    trainer.compile(Muon(decay))

    def reconstruct(images):
        tokens = tokenizer.encode(images)
        return tokenizer.decode(tokens), tokens

    class Measuring(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if not curve.points:
                curve.after_step(batch + 1)

        # Not after a batch: on JAX the variables have no values until the epoch ends.
        def on_epoch_end(self, epoch, logs=None):
            curve.add_point((epoch + 1) * settings["every"], reconstruct)

    trainer.fit(
        batches(train, settings["batch_size"], settings["seed"]),
        steps_per_epoch=settings["every"],
        epochs=settings["steps"] // settings["every"],
        callbacks=[Measuring()],
        verbose=0,
    )
    return curve, tokenizer.count_params()


def train_plain(kind, muon, settings, train, test):
    import torch

    from benchmarks.plain_torch.patch_autoencoder import Trainer, build

    torch.manual_seed(settings["seed"])
    curve = Curve(settings, test, settings["codes"])
    model, curve.codes = build(kind, settings["codes"], settings["width"])
    trainer = Trainer(model, settings["steps"], muon)
    source = batches(train, settings["batch_size"], settings["seed"])
    for step in range(1, settings["steps"] + 1):
        trainer.step(next(source))
        curve.after_step(step)
        if step % settings["every"] == 0:
            curve.add_point(step, trainer.reconstruct)
    return curve, sum(parameter.numel() for parameter in model.parameters())


def main(name, settings, data, output):
    settings, output = json.loads(Path(settings).read_text()), Path(output)
    with np.load(data) as arrays:
        train, test = arrays["train"], arrays["test"]

    import keras

    from keras_regvq.backend.tensorflow_logs import quiet_tensorflow

    quiet_tensorflow()
    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(1)
    if is_ours(name):
        curve, parameters = train_ours(name.rpartition("-")[0], settings, train, test)
    else:
        kind = name.removesuffix("-muon")
        curve, parameters = train_plain(kind, kind != name, settings, train, test)
    result = {"parameters": int(parameters), "first_step": curve.first_step, "points": curve.points}
    np.save(output / f"{name}.npy", np.asarray(curve.reconstructions[:SHOWN], "float32"))
    (output / f"{name}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])

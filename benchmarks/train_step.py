"""The full adversarial training step beside a plain PyTorch step of the same work.

    KERAS_BACKEND=torch python -m benchmarks.train_step
    KERAS_BACKEND=torch python -m benchmarks.train_step --precision bfloat16

The peer (benchmarks/plain_torch) is written the usual way: NCHW, two extra gradient passes for
the adaptive weight, two optimizers. Both do L1, perceptual and probabilistic contrastive loss on
VGG-19, Reg-VQ's quantizer, a PatchGAN and Adam. They take turns in one process; the result is the
ratio of the medians. Run it alone on the machine.
"""

import argparse
import statistics
import time

import keras
import numpy as np
import torch

from benchmarks.plain_torch import quantizers, train_step, vgg_and_patchgan, vqgan
from keras_regvq.models import ImageTokenizer, PatchDiscriminator, VGG19Features
from keras_regvq.quantizers import RegularizedQuantizer
from keras_regvq.training import TokenizerTrainer

MULTIPLIERS, EMBEDDING = (1, 2, 4), 64
PRIOR = {"prior_scope": "image", "prior_estimator": "hard"}


def keras_step(args, images):
    keras.config.set_dtype_policy(
        "mixed_bfloat16" if args.precision == "bfloat16" else args.precision
    )
    tokenizer = ImageTokenizer(
        args.image_size,
        RegularizedQuantizer(args.codebook_size, EMBEDDING, seed=0, **PRIOR),
        base_channels=args.base_channels,
        channel_multipliers=MULTIPLIERS,
        latent_channels=EMBEDDING,
    )
    trainer = TokenizerTrainer(tokenizer, PatchDiscriminator(), VGG19Features(), seed=0)
    trainer.compile(keras.optimizers.Adam(1e-4, beta_1=0.5, beta_2=0.9))
    return lambda: trainer.train_on_batch(images)


def plain_step(args, images, compiled=False):
    model = vqgan.VQGAN(
        quantizers.RegularizedQuantizer(args.codebook_size, EMBEDDING, **PRIOR),
        ch=args.base_channels,
        ch_mult=MULTIPLIERS,
        resolution=args.image_size,
        z_channels=EMBEDDING,
        embed_dim=EMBEDDING,
    )
    trainer = train_step.PlainTrainer(
        model,
        vgg_and_patchgan.PatchDiscriminator(),
        vgg_and_patchgan.VGG19Features(),
        learning_rate=1e-4,
        l1_weight=2.0,
        contrastive_weight=0.1,
        bf16=args.precision == "bfloat16",
    )
    if compiled:
        compile_networks(trainer)
    batch = torch.tensor(images).permute(0, 3, 1, 2).contiguous()
    return lambda: trainer.step(batch)


def compile_networks(trainer):
    """torch.compile, with the decoder's last convolution left out: the adaptive weight needs its
    gradient alone, twice, and a compiled graph would compute all gradients with it."""
    torch._functorch.config.donated_buffer = False  # the graph is kept for those gradients
    torch._dynamo.config.recompile_limit = 64  # levels share their code, not their shapes
    decoder = trainer.model.decoder
    networks = [trainer.model.encoder, trainer.model.quantize, decoder.mid, *decoder.up]
    for network in [*networks, trainer.discriminator, trainer.features]:
        network.compile(dynamic=False)  # else it guesses sizes that vary


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--base-channels", type=int, default=64)
    parser.add_argument("--codebook-size", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--steps", type=int, default=3, help="steps a turn")
    args = parser.parse_args()
    shape = (args.batch_size, args.image_size, args.image_size, 3)
    images = np.random.default_rng(0).random(shape, dtype="float32")

    backend = keras.backend.backend()
    steps = {f"keras_regvq on {backend}": keras_step(args, images)}
    steps["plain PyTorch"] = plain_step(args, images)
    for name, step in steps.items():
        start = time.perf_counter()
        step()
        print(f"{name}: first step {time.perf_counter() - start:.1f} s", flush=True)
        step()
    seconds = {name: [] for name in steps}
    for _ in range(args.rounds):
        for name, step in steps.items():
            for _ in range(args.steps):
                start = time.perf_counter()
                step()
                seconds[name].append(time.perf_counter() - start)
    medians = [statistics.median(values) for values in seconds.values()]
    for name, values in seconds.items():
        spread = f"{min(values):.3f} to {max(values):.3f}"
        print(f"{name}: median {statistics.median(values):.3f} s a step ({spread})")
    print(f"{args.precision}: ratio of medians {medians[0] / medians[1]:.2f}")


if __name__ == "__main__":
    main()

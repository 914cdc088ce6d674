"""The full adversarial training step beside a plain PyTorch step of the same work.

    KERAS_BACKEND=torch python -m benchmarks.train_step
    KERAS_BACKEND=torch python -m benchmarks.train_step --precision bfloat16
    KERAS_BACKEND=jax python -m benchmarks.train_step --paper --rounds 5

The peer (benchmarks/plain_torch) is written the usual way: NCHW, two extra gradient passes for
the adaptive weight, two optimizers. Both do L1, perceptual and probabilistic contrastive loss on
VGG-19, Reg-VQ's quantizer, a PatchGAN and Adam. They take turns, each in a process of its own, and
so does a step with gradient checkpointing; the result is the ratio of the medians. Peak memory is
what the steps add to the process after building, optimizer included. Run it alone on the machine.
"""

import argparse
import statistics

import keras
import numpy as np
import torch

from benchmarks.plain_torch import quantizers, train_step, vgg_and_patchgan, vqgan
from benchmarks.turns import take_turns

MULTIPLIERS, EMBEDDING = (1, 2, 4), 64
PAPER = {
    "image_size": 256, "batch_size": 1, "base_channels": 128, "multipliers": (1, 1, 2, 2, 4),
    "embedding": 256,
}  # fmt: skip
PRIOR = {"prior_scope": "image", "prior_estimator": "hard"}


def keras_step(args, images, checkpointing=False):
    # Not in the peer's process: the package tells malloc to keep what is freed.
    from keras_regvq.models import ImageTokenizer, PatchDiscriminator, VGG19Features
    from keras_regvq.quantizers import RegularizedQuantizer
    from keras_regvq.training import TokenizerTrainer

    keras.config.set_dtype_policy(
        "mixed_bfloat16" if args.precision == "bfloat16" else args.precision
    )
    tokenizer = ImageTokenizer(
        args.image_size,
        RegularizedQuantizer(args.codebook_size, args.embedding, seed=0, **PRIOR),
        base_channels=args.base_channels,
        channel_multipliers=args.multipliers,
        latent_channels=args.embedding,
        gradient_checkpointing=checkpointing,
    )
    trainer = TokenizerTrainer(tokenizer, PatchDiscriminator(), VGG19Features(), seed=0)
    trainer.compile(keras.optimizers.Adam(1e-4, beta_1=0.5, beta_2=0.9))
    return lambda: trainer.train_on_batch(images)


def plain_step(args, images, compiled=False):
    model = vqgan.VQGAN(
        quantizers.RegularizedQuantizer(args.codebook_size, args.embedding, **PRIOR),
        ch=args.base_channels,
        ch_mult=args.multipliers,
        resolution=args.image_size,
        z_channels=args.embedding,
        embed_dim=args.embedding,
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


def images_of(args):
    shape = (args.batch_size, args.image_size, args.image_size, 3)
    return np.random.default_rng(0).random(shape, dtype="float32")


def ours(args, **options):
    step = keras_step(args, images_of(args), **options)
    return lambda turn: step()


def checkpointing(args):
    return ours(args, checkpointing=True)


def plain(args):
    step = plain_step(args, images_of(args))

    def take(turn):
        step()
        return turn  # the peer's step gives nothing

    return take


STEPS = {"keras_regvq": ours, "with gradient checkpointing": checkpointing, "plain PyTorch": plain}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--precision", default="float32", choices=("float32", "bfloat16"))
    add("--image-size", type=int, default=64)
    add("--batch-size", type=int, default=8)
    add("--base-channels", type=int, default=64)
    add("--multipliers", type=int, nargs="+", default=MULTIPLIERS, help="[1 2 4]")
    add("--embedding", type=int, default=EMBEDDING, help="width of the codes")
    add("--codebook-size", type=int, default=1024)
    add("--rounds", type=int, default=15, help="steps of each, after two that compile")
    add("--paper", action="store_true", help="the paper's network, 256 pixels, one image")
    add("--only", nargs="+", default=list(STEPS), choices=list(STEPS))
    args = parser.parse_args()
    if args.paper:
        vars(args).update(PAPER)
    args.rounds += 1  # the first one compiles, too
    seconds, memory = take_turns(STEPS, args)
    medians = {}
    for name, values in seconds.items():
        medians[name] = statistics.median(values[1:])
        spread = f"{min(values[1:]):.3f} to {max(values[1:]):.3f}"
        print(f"{name}: median {medians[name]:.3f} s a step ({spread}), {memory[name]:.0f} MB")
    backend, peer = keras.backend.backend(), "plain PyTorch"
    for name in [name for name in seconds if name != peer and peer in seconds]:
        ratio, share = medians[name] / medians[peer], memory[name] / memory[peer]
        print(f"{name} on {backend}, {args.precision}: {ratio:.2f} of the time, {share:.2f} memory")


if __name__ == "__main__":
    main()

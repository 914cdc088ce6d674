"""Sampling the diffusion prior beside diffusers' UNet2DConditionModel with DDIM.

    KERAS_BACKEND=jax python -m benchmarks.sample_diffusion

A batch of 8 grids of 16 x 16 with 64 channels, 25 DDIM steps with classifier-free guidance (two
evaluations a step), 128 and 256 channels, self- and cross-attention over 32 vectors on the 8 x 8
level and in the middle, random weights, float32. A level has three residual blocks here and two in
diffusers, whose skips are concatenated: 23.7 and 23.2 million parameters. diffusers runs on
PyTorch. Each is a process of its own, so that their thread pools do not meet; the processes take
turns, and the result is the ratio of the medians. Peak memory is what sampling adds to the process
once it has built its model. Needs `pip install diffusers`. Run it alone on the machine.
"""

import argparse
import os
import statistics

import numpy as np

from benchmarks.turns import take_turns

WIDTH, TOKENS, LATENT = 256, 32, 64


def keras_regvq_sampler(args):
    from keras_regvq.models import DiffusionPrior, TextFeatureCondition

    prior = DiffusionPrior(
        1024,
        args.grid,
        "gaussian",
        channels=WIDTH // 2,
        num_res_blocks=3,
        condition=TextFeatureCondition(TOKENS, WIDTH),
        condition_dropout=0.1,
        num_heads=8,
        embedding_dim=LATENT,
    )
    prior.set_codebook(np.random.default_rng(0).standard_normal((1024, LATENT)))
    condition = _texts(args)
    options = {"method": "ddim", "num_steps": args.steps, "guidance_scale": 2.0}
    parameters = sum(int(np.prod(v.shape)) for v in prior.unet.trainable_variables)
    print(f"keras_regvq: {parameters:,} parameters", flush=True)
    return lambda seed: prior.generate(condition, seed=seed, **options)


def diffusers_sampler(args):
    import torch
    from diffusers import DDIMScheduler, UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=args.grid,
        in_channels=LATENT,
        out_channels=LATENT,
        layers_per_block=2,
        block_out_channels=(WIDTH // 2, WIDTH),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=8,  # heads, in spite of its name
    ).eval()
    scheduler = DDIMScheduler(prediction_type="v_prediction", clip_sample=False)
    texts = torch.as_tensor(_texts(args))  # on the default device, as the weights
    context = torch.cat([texts, torch.zeros_like(texts)])

    @torch.no_grad()
    def sample(seed):
        generator = torch.Generator(texts.device).manual_seed(seed)
        shape = (args.batch_size, LATENT, args.grid, args.grid)
        latents = torch.randn(shape, generator=generator)
        scheduler.set_timesteps(args.steps)
        for step in scheduler.timesteps:
            both = unet(torch.cat([latents, latents]), step, context).sample
            wanted, unwanted = both.chunk(2)
            guided = unwanted + 2.0 * (wanted - unwanted)
            latents = scheduler.step(guided, step, latents).prev_sample
        return latents.cpu().numpy()

    print(f"diffusers: {sum(p.numel() for p in unet.parameters()):,} parameters", flush=True)
    return sample


def _texts(args):
    shape = (args.batch_size, TOKENS, WIDTH)
    return np.random.default_rng(1).standard_normal(shape).astype("float32")


SAMPLERS = {"keras_regvq": keras_regvq_sampler, "diffusers": diffusers_sampler}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--grid", type=int, default=16, help="side of the grid")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--only", nargs="+", default=list(SAMPLERS), choices=list(SAMPLERS))
    args = parser.parse_args()

    seconds, memory = take_turns(SAMPLERS, args)
    for name, values in seconds.items():
        values[:] = [value / args.batch_size for value in values]
        print(
            f"{name}: median {statistics.median(values):.3f} s an image "
            f"({min(values):.3f} to {max(values):.3f}), {memory[name]:.0f} MB"
        )
    if len(seconds) == 2:
        ours, theirs = (statistics.median(values) for values in seconds.values())
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        ratio, share = ours / theirs, memory["keras_regvq"] / memory["diffusers"]
        print(
            f"keras_regvq on {backend}: {ratio:.2f} of diffusers' time, {share:.2f} of its memory"
        )


if __name__ == "__main__":
    main()

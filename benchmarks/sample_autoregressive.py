"""Sampling an autoregressive prior beside transformers' and KerasHub's GPT-2 of the same size.

    KERAS_BACKEND=jax python -m benchmarks.sample_autoregressive

256 tokens (a 16 x 16 grid) for a batch of 8: 8 layers of width 512, 8 heads, 1,024 codes, random
weights, float32, at temperature 1 from all codes. transformers' `generate` runs on PyTorch with
its cache, KerasHub's on the same backend as keras_regvq. Each is a process of its own, so that
their thread pools do not meet; the processes take turns, and the result is the ratio of the
medians. "products alone" is a bound, not a peer: what PyTorch takes for a token's products with the
weights. Needs `pip install transformers`. Run it alone on the machine.
"""

import argparse
import os
import statistics

import numpy as np

from benchmarks.turns import take_turns


def keras_regvq_sampler(args):
    from keras_regvq.models import AutoregressivePrior

    grid = (args.length // 16, 16)
    prior = AutoregressivePrior(args.codes, grid, args.layers, args.heads, args.width)
    return lambda seed: prior.generate(num_samples=args.batch_size, seed=seed)


def transformers_sampler(args):
    import torch
    import transformers

    config = transformers.GPT2Config(
        vocab_size=args.codes + 1,
        n_positions=args.length + 1,
        n_embd=args.width,
        n_layer=args.layers,
        n_head=args.heads,
        bos_token_id=args.codes,
        eos_token_id=None,
        pad_token_id=None,
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    start = torch.full((args.batch_size, 1), args.codes)
    settings = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    limits = {"min_new_tokens": args.length, "max_new_tokens": args.length}

    def sample(seed):
        torch.manual_seed(seed)
        mask = torch.ones_like(start)
        tokens = model.generate(start, attention_mask=mask, use_cache=True, **settings, **limits)
        return tokens[:, 1:].cpu().numpy()

    return sample


def keras_hub_sampler(args):
    import keras_hub

    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=args.codes + 1,
        num_layers=args.layers,
        num_heads=args.heads,
        hidden_dim=args.width,
        intermediate_dim=4 * args.width,
        max_sequence_length=args.length + 1,
    )
    model = keras_hub.models.GPT2CausalLM(backbone)
    model.compile(sampler=keras_hub.samplers.RandomSampler(seed=0))
    # The start token, and room for the others.
    shape = (args.batch_size, args.length + 1)
    prompt = {"token_ids": np.full(shape, args.codes, "int32")}
    prompt["padding_mask"] = np.arange(shape[1])[None] < np.ones((shape[0], 1))

    def sample(seed):
        del seed  # its generator goes on by itself
        return model.generate(dict(prompt), stop_token_ids=None)["token_ids"][:, 1:]

    return sample


def products_alone(args):
    import torch

    width, wide = args.width, 4 * args.width
    block = [(width, 3 * width), (width, width), (width, wide), (wide, width)]
    weights = [torch.randn(shape) for shape in [*block * args.layers, (width, args.codes)]]
    features = {size: torch.randn(args.batch_size, size) for size in (width, wide)}

    def sample(seed):
        del seed  # nothing is drawn
        for _ in range(args.length):
            for weight in weights:
                features[len(weight)] @ weight

    return sample


SAMPLERS = {
    "keras_regvq": keras_regvq_sampler,
    "transformers": transformers_sampler,
    "KerasHub": keras_hub_sampler,
    "products alone": products_alone,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=256, help="tokens, a multiple of 16")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--codes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--only", nargs="+", default=list(SAMPLERS), choices=list(SAMPLERS))
    args = parser.parse_args()

    seconds, _ = take_turns(SAMPLERS, args)
    rates = {}
    drawn = args.batch_size * args.length
    for name, values in seconds.items():
        rates[name] = drawn / statistics.median(values)
        low, high = drawn / max(values), drawn / min(values)
        print(f"{name}: median {rates[name]:.0f} tokens/s ({low:.0f} to {high:.0f})")
    if "keras_regvq" in rates:
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        for name in (name for name in rates if name != "keras_regvq"):
            ratio = rates["keras_regvq"] / rates[name]
            print(f"keras_regvq on {backend}: {ratio:.2f} times {name}")


if __name__ == "__main__":
    main()

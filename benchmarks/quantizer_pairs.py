"""Each quantizer's forward and backward pass beside the same one of vector-quantize-pytorch.

    KERAS_BACKEND=torch python -m benchmarks.quantizer_pairs

2,048 positions (8 x 16 x 16), about 16,384 codes, widths 8 and 64; of LFQ, BSQ and FSQ the width is
what the codes say. Each measurement is a process of its own, in turns, as in benchmarks.quantizer.
IBQ and Reg-VQ are not in vector-quantize-pytorch: their peers are the published calculations, with
one-hot vectors.
"""

import argparse
import json
import statistics
import subprocess
import sys

from benchmarks.quantizer import GRID, keras_step, measure_step, torch_step

BITS, CODES, LEVELS = 14, 2**14, (8, 8, 8, 6, 5)
WIDTHS = {"lfq": (BITS,), "bsq": (BITS,), "fsq": (len(LEVELS),)}
NAMES = ("vq", "vq_rotation", "vq_ema", "simvq", "ibq", "lfq", "bsq", "fsq", "regvq")


def ours(name, width):
    from keras_regvq import quantizers

    return {
        "vq": lambda: quantizers.VectorQuantizer(CODES, width),
        "vq_rotation": lambda: quantizers.VectorQuantizer(CODES, width, rotation_trick=True),
        "vq_ema": lambda: quantizers.VectorQuantizer(CODES, width, ema=0.99),
        "simvq": lambda: quantizers.SimVQQuantizer(CODES, width),
        "ibq": lambda: quantizers.IndexBackpropagationQuantizer(CODES, width),
        "lfq": lambda: quantizers.LookupFreeQuantizer(BITS),
        "bsq": lambda: quantizers.LookupFreeQuantizer(BITS, spherical=True),
        "fsq": lambda: quantizers.FiniteScalarQuantizer(LEVELS),
        "regvq": lambda: quantizers.RegularizedQuantizer(CODES, width, seed=0),
    }[name]()


def peer(name, width):
    """A module that gives embeddings and a loss, of (B, L, width) features."""
    import vector_quantize_pytorch as peers

    from benchmarks.plain_torch.index_backpropagation import IndexBackpropagationQuantizer
    from benchmarks.plain_torch.quantizers import RegularizedQuantizer

    learned = {"learnable_codebook": True, "ema_update": False}  # by gradient, as ours
    if name in ("vq", "vq_rotation"):
        rotation = name == "vq_rotation"
        module = peers.VectorQuantize(width, CODES, rotation_trick=rotation, **learned)
    elif name == "vq_ema":
        module = peers.VectorQuantize(width, CODES, rotation_trick=False, decay=0.99)
    elif name == "simvq":
        module = peers.SimVQ(dim=width, codebook_size=CODES, rotation_trick=False)
    elif name in ("lfq", "bsq"):
        module = peers.LFQ(dim=width, codebook_size=CODES, spherical=name == "bsq")
    elif name == "fsq":
        module = peers.FSQ(list(LEVELS))
    elif name == "ibq":
        return IndexBackpropagationQuantizer(CODES, width)
    else:
        return RegularizedQuantizer(CODES, width, feature_channels=width)
    return module.train()


def peer_step(name, width):
    import torch

    torch.manual_seed(0)
    quantizer, (batch, height, columns) = peer(name, width), GRID
    of_images = name == "regvq"  # (B, C, h, w) features, a dict of results
    shape = (width, height, columns) if of_images else (height * columns, width)
    features = torch.randn(batch, *shape, requires_grad=True)

    def forward():
        result = quantizer(features)
        if of_images:
            return result["embeddings"], sum(result["losses"].values())
        loss = result[2].sum() if len(result) > 2 else torch.zeros(())
        return result[0], loss

    return torch_step(quantizer, features, forward)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2, help="processes a method, in turns")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        name, width, side = args.measure
        width = int(width)
        step = keras_step(ours(name, width), width) if side == "ours" else peer_step(name, width)
        return measure_step(step, args.repeats)

    print("| quantizer | width | ours, s | peer, s | time / peer | memory / peer |")
    print("|---|---|---|---|---|---|")
    for name in args.only:
        for width in WIDTHS.get(name, (8, 64)):
            found = {"ours": [], "peer": []}
            for _ in range(args.rounds):
                for side, results in found.items():
                    command = [sys.executable, "-m", "benchmarks.quantizer_pairs", "--measure"]
                    command += [name, str(width), side, "--repeats", str(args.repeats)]
                    said = subprocess.run(command, check=True, capture_output=True, text=True)
                    results.append(json.loads(said.stdout.splitlines()[-1]))
            medians = {}
            for side, results in found.items():
                seconds = statistics.median(s for one in results for s in one["seconds"])
                medians[side] = seconds, max(one["peak"] for one in results)
            (ours_s, ours_peak), (peer_s, peer_peak) = medians["ours"], medians["peer"]
            # A small pass may stay below the peak that the process had before.
            memory = f"{ours_peak / peer_peak:.2f}" if peer_peak else "-"
            print(
                f"| {name} | {width} | {ours_s:.3f} | {peer_s:.3f} | {ours_s / peer_s:.2f} "
                f"| {memory} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

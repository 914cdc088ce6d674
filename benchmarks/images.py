"""Pictures read, encoded and decoded, beside a PyTorch DataLoader and diffusers' VQModel.

    KERAS_BACKEND=torch python -m benchmarks.images

A folder of JPEG files of 400 x 300 pixels into batches of 32 of 64 pixels: `keras_regvq.data.load`,
beside a DataLoader with two workers whose data set reads with Pillow (scaled until it just covers
the square, and cropped). Both have the JPEG decoder give the smallest picture of twice the size.
Then as many pictures of 64 pixels into tokens and back, by the preset regvq_scenes_64 in batches of
32, beside diffusers' VQModel of about as many parameters (`benchmarks.tokenizing_peer`). Each way
is a process of its own; they take turns, and the result is the ratio of the medians. Needs `pip
install diffusers`. Run it alone on the machine.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.turns import take_turns

SIZE, GRID, CODES = 64, 16, 512


def write_pictures(folder, count):
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype="uint8"))
        coarse.resize((400, 300), Image.Resampling.BICUBIC).save(folder / f"{number:05d}.jpg")


def load_ours(args):
    from keras_regvq.data import load

    data = load(f"folder:{args.folder}", "all", SIZE, args.batch_size, cache=False)
    return lambda seed: _all_batches((batch["images"] for batch in data), args.count)


def load_peers(args):
    import torch

    files = sorted(Path(args.folder).iterdir())
    loader = torch.utils.data.DataLoader(
        Pictures(files),
        args.batch_size,
        num_workers=args.workers,
        collate_fn=np.stack,
        persistent_workers=True,
    )
    return lambda seed: _all_batches(loader, args.count)


class Pictures:
    """A data set of picture files, as a DataLoader takes one."""

    def __init__(self, files):
        self.files = files

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        from PIL import Image, ImageOps

        with Image.open(self.files[index]) as picture:
            picture.draft("RGB", (2 * SIZE, 2 * SIZE))
            return np.asarray(ImageOps.fit(picture.convert("RGB"), (SIZE, SIZE)))


def _all_batches(batches, count):
    read = sum(len(batch) for batch in batches)
    assert read == count, f"{read} of {count} pictures were read"
    return read


def encode_ours(args):
    from keras_regvq.models import ImageTokenizer

    model, images = ImageTokenizer.from_preset("regvq_scenes_64"), _pictures(args)
    return lambda seed: model.encode(images, batch_size=args.batch_size)


def decode_ours(args):
    from keras_regvq.models import ImageTokenizer

    model, tokens = ImageTokenizer.from_preset("regvq_scenes_64"), _tokens(args)
    return lambda seed: model.decode(tokens, batch_size=args.batch_size)


def encode_peers(args):
    import torch

    from benchmarks.tokenizing_peer import build

    images, model = torch.from_numpy(_pictures(args)).permute(0, 3, 1, 2), build()

    @torch.no_grad()
    def encode(seed):
        del seed
        batches = images.split(args.batch_size)
        return np.concatenate(
            [
                model.quantize(model.encode(batch.float() / 127.5 - 1.0).latents)[2][2].numpy()
                for batch in batches
            ]
        )

    return encode


def decode_peers(args):
    import torch

    from benchmarks.tokenizing_peer import build

    model, tokens = build(), torch.from_numpy(_tokens(args)).long()

    @torch.no_grad()
    def decode(seed):
        del seed
        made = []
        for batch in tokens.split(args.batch_size):
            codes = model.quantize.get_codebook_entry(
                batch.reshape(-1), (len(batch), GRID, GRID, 64)
            )
            made.append(model.decode(codes, force_not_quantize=True).sample.numpy())
        return np.concatenate(made)

    return decode


def _pictures(args):
    return np.random.default_rng(0).integers(0, 256, (args.count, SIZE, SIZE, 3), dtype="uint8")


def _tokens(args):
    return np.random.default_rng(0).integers(0, CODES, (args.count, GRID, GRID), dtype="int32")


TASKS = {
    "loading": (load_ours, "a DataLoader", load_peers),
    "encoding": (encode_ours, "diffusers", encode_peers),
    "decoding": (decode_ours, "diffusers", decode_peers),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    add("--count", type=int, default=1000, help="pictures")
    add("--batch-size", type=int, default=32)
    add("--workers", type=int, default=2, help="processes of the DataLoader")
    add("--rounds", type=int, default=3, help="turns of each")
    args = parser.parse_args()
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    with tempfile.TemporaryDirectory() as args.folder:
        if "loading" in args.tasks:
            write_pictures(Path(args.folder), args.count)
        for task in args.tasks:
            ours, peer, theirs = TASKS[task]
            args.only = ["keras_regvq", peer]
            seconds, _ = take_turns({"keras_regvq": ours, peer: theirs}, args)
            speed = {name: args.count / statistics.median(seconds[name]) for name in seconds}
            for name, value in speed.items():
                print(f"{task}, {name}: {value:.0f} images/s")
            ratio = speed["keras_regvq"] / speed[peer]
            print(f"{task}: keras_regvq on {backend} has {ratio:.2f} times the speed of {peer}")


if __name__ == "__main__":
    main()

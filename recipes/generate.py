"""Paint pictures from label maps with a trained model.

    python recipes/generate.py                                  # held-out scenes' maps
    python recipes/generate.py --map my_map.png --samples 6     # one you drew
    python recipes/generate.py --preset runs/street_painter/preset --data folder:street

A map is a PNG whose pixels are label numbers (one channel, or a palette); --colours prints the
labels of scenes with the colours of their pictures, and a PNG in these colours will do, too.
Writes a grid, one column a map: the map, then its samples.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import keras_regvq
from keras_regvq.data import SCENE_CLASSES, SCENE_PALETTE
from keras_regvq.training.pictures import image_grid, label_palette


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def option(name, default, help, **kwargs):
        kwargs.setdefault("type", type(default))
        parser.add_argument(name, default=default, help=f"{help} [{default}]", **kwargs)

    option("--preset", "semantic_scenes_64", "a SemanticToImage")
    option("--map", None, "PNG label map; several may be named", type=Path, nargs="+")
    option("--data", "scenes", "whose held-out maps to take without --map")
    option("--count", 8, "held-out maps")
    option("--samples", 3, "pictures a map")
    option("--temperature", 1.0, "above 1 bolder, 0 the likeliest token")
    option("--top-k", None, "draw from the k likeliest tokens only", type=int)
    option("--top-p", None, "draw from the likeliest tokens of this probability", type=float)
    option("--guidance-scale", 1.0, "above 1 clings to the map")
    option("--seed", 0, "random seed")
    option("--output", Path("runs/generated.png"), "picture to write")
    parser.add_argument("--colours", action="store_true", help="print the scenes' labels and stop")
    return parser.parse_args(arguments)


def read_map(path, size, palette):
    """A label map (H, W) from a PNG of label numbers, or of a palette's colours."""
    try:
        with Image.open(path) as image:
            image = image.resize(size[::-1], Image.Resampling.NEAREST)
            pixels = np.asarray(image if image.mode in ("L", "P", "I", "I;16") else
                                image.convert("RGB"))  # fmt: skip
    except OSError as error:
        raise SystemExit(f"{path} cannot be read as a picture: {error}") from None
    if pixels.ndim == 2:
        return pixels.astype("int32")
    labels = (pixels[..., None, :] == palette).all(-1)
    if not labels.any(-1).all():
        row, column = np.argwhere(~labels.any(-1))[0]
        colour = tuple(map(int, pixels[row, column]))
        raise SystemExit(
            f"{path} has a colour of no label, {colour} at row {row}, column {column} of {size}: "
            "save label numbers, or see --colours."
        )
    return labels.argmax(-1).astype("int32")


def held_out_maps(args, size):
    data = keras_regvq.data.load(
        args.data,
        split="test",
        image_size=size[0],
        batch_size=args.count,
        fields=("labels",),
        num_examples=args.count,
    )
    return next(iter(data.as_numpy_iterator()))["labels"]


def main(arguments=None):
    args = parse_arguments(arguments)
    if args.colours:
        for label, (name, colour) in enumerate(zip(SCENE_CLASSES, SCENE_PALETTE, strict=True)):
            print(f"{label:2d}  {name:12s} {tuple(map(int, colour))}")
        return None
    model = keras_regvq.from_preset(args.preset)
    num_classes = getattr(model.prior.condition, "num_classes", 256)
    scenes = num_classes == len(SCENE_CLASSES)
    palette = SCENE_PALETTE if scenes else label_palette(num_classes)
    size = model.tokenizer.image_size
    if args.map:
        maps = np.stack([read_map(path, size, palette) for path in args.map])
    else:
        maps = held_out_maps(args, size)
    pictures = model.generate(
        np.concatenate([maps] * args.samples),
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        guidance_scale=args.guidance_scale,
        seed=args.seed,
    )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    rows = [palette[maps], *np.split(pictures, args.samples)]
    image_grid(rows, scale=max(1, 128 // size[0])).save(args.output)
    print(f"Picture: {args.output.resolve()}")
    return pictures


if __name__ == "__main__":
    main()

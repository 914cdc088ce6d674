"""Paint pictures with a trained model: from label maps, or from captions.

    python recipes/generate.py                                  # held-out scenes' maps
    python recipes/generate.py --map my_map.png --samples 6     # one you drew
    python recipes/generate.py --preset runs/street_painter/preset --data folder:street

    python recipes/generate.py --prompt "a yellow boat on open water at sunset"

A map is a PNG whose pixels are label numbers (one channel, or a palette); --colours prints the
labels of scenes with the colours of their pictures, and a PNG in these colours will do, too.
Without --prompt or --map, the captions or maps are those of held-out images. Writes a grid, one
column a caption or map: the map, then the samples.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import keras_regvq
from keras_regvq.data import SCENE_CLASSES, SCENE_PALETTE
from keras_regvq.models import TextToImage
from keras_regvq.training.pictures import image_grid, label_palette


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def option(name, default, help, **kwargs):
        kwargs.setdefault("type", type(default))
        parser.add_argument(name, default=default, help=f"{help} [{default}]", **kwargs)

    defaults = "; default semantic_scenes_64, or text_scenes_64 with --prompt"
    option("--preset", None, f"a SemanticToImage or a TextToImage{defaults}", type=str)
    option("--prompt", None, "captions to paint", type=str, nargs="+")
    option("--negative-prompt", None, "what to be guided away from", type=str)
    option("--map", None, "PNG label maps to paint", type=Path, nargs="+")
    option("--data", "scenes", "whose held-out captions or maps to take without these")
    option("--count", 8, "how many of them")
    option("--samples", 3, "pictures a caption or map")
    option("--num-steps", None, "captions: sampling steps", type=int)
    option("--method", None, "captions: sampler of the prior", type=str)
    option("--temperature", 1.0, "above 1 bolder, 0 the likeliest token")
    option("--top-k", None, "draw from the k likeliest tokens only", type=int)
    option("--top-p", None, "draw from the likeliest tokens of this probability", type=float)
    option("--guidance-scale", None, "above 1 clings to what is asked for", type=float)
    option("--seed", 0, "random seed")
    option("--output", Path("runs/generated.png"), "picture to write")
    parser.add_argument("--colours", action="store_true", help="print the scenes' labels and stop")
    args = parser.parse_args(arguments)
    kind = Image.registered_extensions().get(args.output.suffix.lower())
    if kind not in Image.SAVE:  # some kinds Pillow only reads
        parser.error(f"--output {args.output} is no picture that can be written, as .png is")
    return args


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


def held_out(args, size, field):
    data = keras_regvq.data.load(
        args.data,
        split="test",
        image_size=size[0],
        batch_size=args.count,
        fields=(field,),
        num_examples=args.count,
    )
    return next(iter(data.as_numpy_iterator()))[field]


def paint_captions(args, model, sampling):
    """Rows of pictures, one column a caption."""
    prompts = args.prompt or [
        caption.decode() for caption in held_out(args, model.tokenizer.image_size, "captions")
    ]
    for number, prompt in enumerate(prompts, 1):
        print(f"{number:2d}  {prompt}")
    if args.guidance_scale is None and model.prior.no_condition is not None:
        sampling["guidance_scale"] = 4.0
    for name in ("num_steps", "method"):
        if getattr(args, name) is not None:
            sampling[name] = getattr(args, name)
    pictures = model.generate(prompts * args.samples, args.negative_prompt, **sampling)
    return np.split(pictures, args.samples)


def paint_maps(args, model, sampling):
    """Rows of the maps and of pictures, one column a map."""
    num_classes = getattr(model.prior.condition, "num_classes", 256)
    scenes = num_classes == len(SCENE_CLASSES)
    palette = SCENE_PALETTE if scenes else label_palette(num_classes)
    size = model.tokenizer.image_size
    if args.map:
        maps = np.stack([read_map(path, size, palette) for path in args.map])
    else:
        maps = held_out(args, size, "labels")
    pictures = model.generate(np.concatenate([maps] * args.samples), **sampling)
    return [palette[maps], *np.split(pictures, args.samples)]


def main(arguments=None):
    args = parse_arguments(arguments)
    if args.colours:
        for label, (name, colour) in enumerate(zip(SCENE_CLASSES, SCENE_PALETTE, strict=True)):
            print(f"{label:2d}  {name:12s} {tuple(map(int, colour))}")
        return None
    if args.preset is None:
        args.preset = "semantic_scenes_64" if args.prompt is None else "text_scenes_64"
    model = keras_regvq.from_preset(args.preset)
    from_captions = isinstance(model, TextToImage)
    if (args.map if from_captions else args.prompt) is not None:
        wanted = "--prompt" if from_captions else "--map"
        raise SystemExit(f"{args.preset} is a {type(model).__name__}: give it a {wanted}.")
    names = ("temperature", "top_k", "top_p", "guidance_scale", "seed")
    sampling = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    rows = (paint_captions if from_captions else paint_maps)(args, model, sampling)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    scale = max(1, 128 // model.tokenizer.image_size[0])
    image_grid(rows, scale=scale).save(args.output)
    print(f"Picture: {args.output.resolve()}")
    return rows


if __name__ == "__main__":
    main()

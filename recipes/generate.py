"""Generate pictures with a trained model: from label maps, or from captions.

    python recipes/generate.py                                  # held-out scenes' maps
    python recipes/generate.py --map my_map.png --samples 6     # one you drew
    python recipes/generate.py --preset runs/street/preset --data folder:street

    python recipes/generate.py --prompt "a yellow boat on open water at sunset"

A map is a picture file without losses, such as PNG, whose pixels are label numbers (one channel, or
a palette) or the labels' colours; --colours prints the labels of scenes with their colours. Without
--prompt or --map, the captions or maps are those of held-out images. Writes a grid, one column a
caption or map: the map, then the samples.
"""

import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

import keras_regvq
from keras_regvq.data import SCENE_CLASSES, SCENE_PALETTE
from keras_regvq.files.replacing import replacing
from shared.held_out import SPLITS, describe_part, load_part
from shared.label_maps import read_map
from shared.options import adding_to, command_parser, integer, number
from shared.running import one_line, run


def parse_arguments(arguments=None):
    parser = command_parser(__doc__)
    option = adding_to(parser)
    defaults = "; default semantic_scenes_64, or text_scenes_64 with --prompt"
    option("--preset", None, f"a SemanticToImage or a TextToImage{defaults}", type=str)
    option("--prompt", None, "captions", type=str, nargs="+")
    option("--negative-prompt", None, "what to be guided away from", type=str)
    option("--map", None, "picture files of label maps", type=Path, nargs="+")
    option("--data", "scenes", "data whose captions or maps are used without --prompt and --map")
    option("--split", "test", "part of the data; all: every image", choices=SPLITS)
    option("--count", 8, "how many captions or maps of the data at most", type=integer(1))
    option("--samples", 3, "pictures a caption or map", type=integer(1))
    option("--num-steps", None, "diffusion: sampling steps", type=integer(1))
    option("--sampler", None, "diffusion: sampler of the prior", type=str)
    option("--temperature", 1.0, "higher varies more; 0: the likeliest token", type=number(0))
    option("--top-k", None, "draw from the k likeliest tokens only", type=integer(1))
    option("--top-p", None, "draw from the likeliest tokens of this probability", type=number(0, 1))
    option("--guidance-scale", None, "guidance; 4 for captions if not given", type=number(0))
    option("--seed", 0, "random seed")
    option("--output", Path("runs/generated.png"), "picture to write")
    parser.add_argument("--colours", action="store_true", help="print the scenes' labels and stop")
    args = parser.parse_args(arguments)
    if args.prompt is not None and args.map is not None:
        parser.error("--prompt and --map: give one of them")
    if not args.colours and (problem := problem_of_output(args.output)):
        parser.error(f"--output {args.output} {problem}")
    return args


def problem_of_output(path):
    """Why no picture can be written to `path`, or None; its folder is made."""
    kind = Image.registered_extensions().get(path.suffix.lower())
    try:  # some kinds Pillow only reads, or not in colour
        Image.new("RGB", (32, 32)).save(io.BytesIO(), kind)
    except (KeyError, ValueError, OSError):
        return "needs the extension of an image format that Pillow can write, such as .png"
    if path.is_dir():
        return "is a folder"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"cannot be written, since its folder cannot be made: {error.strerror}"
    return None


def sampling_options(args, model):
    """The keyword arguments of the model's `generate` that were asked for."""
    names = ["temperature", "top_k", "top_p", "guidance_scale", "seed"]
    steps = ("num_steps", "sampler")
    if isinstance(model.prior, keras_regvq.models.DiffusionPrior):
        names += steps
    elif given := [_option(name) for name in steps if getattr(args, name) is not None]:
        raise SystemExit(f"error: {given[0]} is for diffusion; {args.preset} is autoregressive.")
    sampling = {name: getattr(args, name) for name in names}
    return {name: value for name, value in sampling.items() if value is not None}


def captions_to_sample(args, model):
    """The captions: those of --prompt, or of the data's images."""
    captions = args.prompt
    if captions is None:
        size, wanted = model.tokenizer.image_size, args.count
        found = load_part(args.data, args.split, size, ("captions",), wanted)["captions"]
        captions = [caption.decode() for caption in found]
        print(f"Captions: {describe_part(args.data, args.split, size, len(captions), wanted)}.")
    for position, caption in enumerate(captions, 1):
        print(f"{position:2d}  {caption}")
    return captions


def check_words(args, model):
    """Refuse prompts of which the model knows no word; of single ones its encoder warns."""
    known = set(getattr(model.text_encoder, "words", ()))
    for option, text in [("--prompt", prompt) for prompt in args.prompt or ()] + [
        ("--negative-prompt", args.negative_prompt or "")
    ]:
        words = set(re.findall(r"\w+", text.lower()))
        if known and words and not words & known:
            raise SystemExit(f"error: {option} {text!r}: {args.preset} knows none of its words.")
        if option == "--prompt" and not text.strip():
            raise SystemExit("error: --prompt is empty: give it a caption.")


def maps_to_sample(args, model):
    """Label maps (n, H, W), and the colours (num_classes, 3) that they are shown in."""
    condition, size = model.prior.condition, model.tokenizer.image_size
    num_classes = getattr(getattr(condition, "tokenizer", None) or condition, "num_classes", 256)
    palette = keras_regvq.pictures.label_palette(num_classes)
    if num_classes == len(SCENE_CLASSES):
        palette = SCENE_PALETTE
    if args.map is None:
        maps = load_part(args.data, args.split, size, ("labels",), args.count)["labels"]
        print(f"Maps: {describe_part(args.data, args.split, size, len(maps), args.count)}.")
        if maps.max() >= num_classes:
            raise SystemExit(
                f"error: --data {args.data} has label {maps.max()}, and {args.preset} knows labels "
                f"up to {num_classes - 1}."
            )
        return maps, palette
    try:
        return np.stack([read_map(path, size, palette) for path in args.map]), palette
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: --map {one_line(error)}") from None


def generate_rows(args, model):
    """Rows of pictures, one column a caption or map; above the samples of maps, the maps."""
    sampling = sampling_options(args, model)
    if model.condition_field == "captions":
        check_words(args, model)
        conditions, above = captions_to_sample(args, model), []
        if args.guidance_scale is None and model.prior.no_condition is not None:
            sampling["guidance_scale"] = 4.0
        if args.negative_prompt is not None:
            sampling["negative_prompts"] = args.negative_prompt
        repeated = conditions * args.samples
    else:
        maps, palette = maps_to_sample(args, model)
        repeated, above = np.concatenate([maps] * args.samples), [palette[maps]]
    try:
        pictures = model.generate(repeated, **sampling)
    except ValueError as error:
        raise SystemExit(f"error: {_with_options(one_line(error), args)}") from None
    return [*above, *np.split(pictures, args.samples)]


def main(arguments=None):
    args = parse_arguments(arguments)
    if args.colours:
        for label, (name, colour) in enumerate(zip(SCENE_CLASSES, SCENE_PALETTE, strict=True)):
            print(f"{label:2d}  {name:12s} {tuple(map(int, colour))}")
        return None
    if args.preset is None:
        args.preset = "semantic_scenes_64" if args.prompt is None else "text_scenes_64"
    try:
        model = keras_regvq.from_preset(args.preset)
    except ValueError as error:
        raise SystemExit(f"error: {_with_options(one_line(error), args)}") from None
    kind = type(model).__name__
    field = getattr(model, "condition_field", None)
    if field is None:
        raise SystemExit(
            f"error: --preset {args.preset} holds a {kind}: a SemanticToImage or a TextToImage is "
            "needed."
        )
    if field == "captions" and args.map is not None:
        raise SystemExit(f"error: {args.preset} is a {kind}: give it a --prompt, not a --map.")
    if field == "labels" and args.prompt is not None:
        raise SystemExit(f"error: {args.preset} is a {kind}: give it a --map, not a --prompt.")
    if field == "labels" and args.negative_prompt is not None:
        raise SystemExit(f"error: --negative-prompt: {args.preset} is a {kind}, without captions.")
    rows = generate_rows(args, model)
    scale = max(1, 128 // model.tokenizer.image_size[0])
    with replacing(args.output) as part:
        keras_regvq.pictures.image_grid(rows, scale=scale).save(part)
    print(f"Picture: {args.output.resolve()}")
    return rows


def _option(name):
    return "--" + name.replace("_", "-")


def _with_options(text, args):
    """An error's text with the options of the command in place of the arguments' names."""
    return re.sub(
        r"Argument `(\w+)`", lambda m: _option(m[1]) if hasattr(args, m[1]) else m[0], text
    )


if __name__ == "__main__":
    run(main, "No picture was written.")

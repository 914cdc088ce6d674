"""What is measured of one preset: a tokenizer's reconstructions, or what a generator samples."""

import contextlib
import dataclasses
import warnings

import keras

from keras_regvq.checks.arguments import refuse
from keras_regvq.metrics import PerceptualDistance
from keras_regvq.metrics.psnr import peak_signal_to_noise_ratio
from keras_regvq.models import ImageTokenizer
from keras_regvq.models.generators.image_generator import ImageGenerator
from keras_regvq.pictures import code_counts, codebook_picture, image_grid, usage_histogram
from shared.evaluation import evaluate
from shared.held_out import best_and_worst, describe_part, load_part, warnings_of
from shared.set_distances import BATCH, FEWEST_IMAGES, distances, unit_range


@dataclasses.dataclass
class Measured:
    """Numbers by name, what was measured in words, the images' size (height, width), what to keep
    in mind, and pictures by heading."""

    numbers: dict
    images: str
    size: tuple
    warnings: list
    pictures: dict


def measure(preset, model, args, networks):
    """Measure a model on the images that `args` name.

    Args:
        preset: its name, for errors.
        model: ImageTokenizer, SemanticToImage or TextToImage.
        args: of evaluate.py.
        networks: what `feature_networks` gave.

    Returns:
        Measured; what the data warned of, such as pictures that were left out, is among its
        warnings.
    """
    said = []
    with _hearing(said):
        if isinstance(model, ImageTokenizer):
            measured = _measure_tokenizer(model, args, networks)
        elif isinstance(model, ImageGenerator):
            measured = _measure_generator(preset, model, args, networks)
        else:
            expected = "a tokenizer, a SemanticToImage or a TextToImage"
            refuse("--preset", f"{preset}, which holds a {type(model).__name__}", expected)
    measured.warnings[:0] = said
    return measured


@contextlib.contextmanager
def _hearing(sentences):
    """Put warnings of what users gave into a list; others, and after an error all, are shown."""
    done = False
    try:
        with warnings.catch_warnings(record=True) as caught:
            yield
            done = True
    finally:
        for warning in caught:
            if done and warning.category is UserWarning:
                sentences.append(str(warning.message))
            else:
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )


def _measure_tokenizer(tokenizer, args, networks):
    """Numbers, and pictures of reconstructions from the best to the worst."""
    size = args.image_size or tokenizer.image_size
    channels = tokenizer.image_channels
    images = load_part(args.data, args.split, size, ("images",), args.count, channels)["images"]
    numbers, tokens = evaluate(tokenizer, images)
    made = tokenizer.decode(tokens)
    if networks is not None:
        pairs = PerceptualDistance(networks[0])
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            pairs.update_state(unit_range(images[part]), made[part])
        numbers["perceptual_distance"] = float(pairs.result())
    psnr = keras.ops.convert_to_numpy(peak_signal_to_noise_ratio(unit_range(images), made))
    best, worst = best_and_worst(psnr)
    scale = max(1, 128 // images.shape[1])
    counts = code_counts(tokenizer, tokens)
    pictures = {"Best reconstructions, below their originals": (images[best], made[best])}
    if len(worst):
        pictures["Worst reconstructions, from the worst on"] = (images[worst], made[worst])
    return _measured(
        args, size, numbers, networks, images, made,
        {
            **{heading: image_grid(rows, scale) for heading, rows in pictures.items()},
            "How often each code is used": usage_histogram(counts),
            "The codebook: each code decoded to a patch": codebook_picture(tokenizer),
        },
    )  # fmt: skip


def _measure_generator(preset, model, args, networks):
    """Numbers, and pictures sampled for the conditions of the data."""
    field, size = model.condition_field, model.tokenizer.image_size
    if args.image_size not in (None, size):
        expected = "{} {}, the preset's own, or none".format(*size)
        refuse("--image-size", f"{args.image_size} for {preset}", expected)
    # Distances are to other real images: those of the same conditions would be nearer than any
    # new picture. Where there are not twice as many, it is half against half.
    wanted = args.count if networks is None else 2 * args.count
    channels = model.tokenizer.image_channels
    data = load_part(args.data, args.split, size, ("images", field), wanted, channels)
    there = len(data["images"])
    others = data["images"][:0]
    if networks is not None:
        count = min(args.count, (there + 1) // 2)
        others = data["images"][count : 2 * count]
        data = {name: values[:count] for name, values in data.items()}
    conditions = list(data[field]) if field == "captions" else data[field]
    sampled = model.generate(conditions, seed=args.seed)
    model.compile()
    numbers = model.evaluate(data, batch_size=BATCH, verbose=0, return_dict=True)
    shown = image_grid([sampled[:10], data["images"][:10]], max(1, 128 // size[0]))
    pictures = {f"Samples for {field} of the data, above the real images": shown}
    return _measured(args, size, numbers, networks, others, sampled, pictures, there)


def _measured(args, size, numbers, networks, real, made, pictures, there=None):
    count = len(made)
    warnings = warnings_of(count, networks is not None)
    if networks is not None and min(len(real), count) < FEWEST_IMAGES:
        few = f"Fewer than {FEWEST_IMAGES} are too few for distances between sets"
        warnings.append(f"{few}: these are left out.")
    elif networks is not None:
        numbers = {**numbers, **distances(networks[1], real, made)}
    words = describe_part(args.data, args.split, size, there or count, args.count)
    if there not in (None, count):
        words = f"{count}, and {len(real)} others for the distances, of {words}"
    return Measured({"images": count, **numbers}, words, tuple(size), warnings, pictures)

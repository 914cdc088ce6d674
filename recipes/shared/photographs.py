"""Crops of the photographs that photographs.toml lists."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from shared.markdown import markdown_table

LIST = Path(__file__).with_name("photographs.toml")
KINDS = {"photograph": 1.0, "texture": 0.5, "abstract": 0.25, "stamp": 0.0}
"""How likely a crop is to be of a picture of a kind, for one picture of it."""

STAMPS, PLAIN = 0.12, 0.35
"""Parts of the training pictures that are stamps, and by default flat colours and gradients."""

LONGEST_SIDE = 1600
"""Photographs are brought to this size first: at full size, details are blurred and noisy."""


@dataclass(frozen=True)
class Source:
    """A picture: its package and file there, its kind of `KINDS`, its split, and whose it is."""

    package: str
    file: str
    kind: str
    split: str
    author: str
    licence: str


def read_sources(path=LIST):
    """Read the list of pictures: a table for each package, with what is common to its files.

    Returns:
        A list of `Source`, in the order of the file.
    """
    sources = []
    for package, table in tomllib.loads(Path(path).read_text(encoding="utf-8")).items():
        folder = table.pop("folder")
        files = table.pop("files")
        for entry in files:
            entry = {"split": "train", **table, **entry}
            entry["file"] = f"{folder}/{entry['file']}"
            sources.append(Source(package, **entry))
    return sources


def write_crops(output, split, count, sources, folders, size, seed, plain=PLAIN):
    """Write random crops of a split's pictures as `output`/`split`/NNNNN.png.

    A crop's side is log-uniform from `size` to the picture's shorter side, and brought to `size`.
    In the training split, some are stamps on a flat colour or on another crop, and some plain.

    Args:
        output: folder of the splits.
        split: "train" or "test".
        count: how many.
        sources: list of `Source`.
        folders: dict of folders by package.
        size: side of the crops in pixels.
        seed: integer; with the list and the numbers above it makes the files.
        plain: part of the training pictures that are flat colours and gradients.

    Raises:
        ValueError: if the split has no pictures.
    """
    rng = np.random.default_rng((seed, split == "test"))
    sources = [source for source in sources if source.split == split]
    pictures = [source for source in sources if source.kind != "stamp"]
    stamps = [source for source in sources if source.kind == "stamp"]
    if not pictures:
        raise ValueError(f"no picture of the chosen packages is for {split}ing; choose more")
    in_training = split == "train"
    plain = round(plain * count) if in_training else 0
    stamped = round(STAMPS * count) if in_training and stamps else 0
    crops = _crops_of_pictures(count - plain - stamped, pictures, folders, size, rng)
    crops += [_plain(size, rng) for _ in range(plain)]
    backgrounds = len(crops)
    for number in rng.permutation(np.resize(np.arange(len(stamps)), stamped)):
        stamp = _open(stamps[number], folders)
        flat = rng.random() < 0.5
        background = _flat(size, rng) if flat else crops[rng.integers(backgrounds)]
        crops.append(put_on(stamp, background, rng))
    folder = output / split
    folder.mkdir()
    for number, which in enumerate(rng.permutation(count)):
        crops[which].save(folder / f"{number:05}.png")
        if (number + 1) % 500 == 0 or number + 1 == count:
            print(f"{split}: {number + 1} of {count} pictures", flush=True)


def sources_page(sources):
    """The page that names author and licence of every picture, in Markdown."""
    rows = [
        [source.package, source.file, source.kind, source.split, source.author, source.licence]
        for source in sources
    ]
    return (
        "# Sources\n\nThe pictures in this folder are crops of those below, made smaller; stamps "
        "are set on other backgrounds.\n\n"
        + markdown_table(["package", "file", "kind", "split", "author", "licence"], rows)
    )


def _crops_of_pictures(count, sources, folders, size, rng):
    """Crops ordered by picture, so that each is decoded once."""
    weights = np.array([KINDS[source.kind] for source in sources])
    counts = rng.multinomial(count, weights / weights.sum())
    crops = []
    for source, part in zip(sources, counts, strict=True):
        picture = _open(source, folders).convert("RGB") if part else None
        crops += [_crop(picture, size, rng) for _ in range(part)]
    return crops


def _open(source, folders):
    """The picture, no longer than `LONGEST_SIDE`; stamps with their transparency."""
    path = folders[source.package] / source.file
    if not path.is_file():
        raise ValueError(f"{source.package} holds no {source.file}: another version of it?")
    with Image.open(path) as picture:
        picture.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
        if source.kind == "stamp":
            picture = picture.convert("RGBA")
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        return picture.copy()


def _crop(picture, size, rng):
    shorter = min(picture.size)
    side = int(size * (max(shorter, size) / size) ** rng.random())
    side = min(side, shorter)
    left = int(rng.integers(picture.width - side + 1))
    top = int(rng.integers(picture.height - side + 1))
    box = (left, top, left + side, top + side)
    return picture.resize((size, size), Image.Resampling.LANCZOS, box)


def _flat(size, rng):
    return Image.new("RGB", (size, size), tuple(int(value) for value in _colour(rng)))


def _colour(rng):
    """Every channel is as likely as not to be near its end: pure colours are seldom else."""
    return np.clip(rng.uniform(-128, 383, 3), 0, 255)


def _plain(size, rng):
    """One colour, or two that blend from side to side in some direction."""
    if rng.random() < 0.5:
        return _flat(size, rng)
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:size, :size] / (size - 1) - 0.5
    along = np.cos(angle) * columns + np.sin(angle) * rows
    along = (along - along.min()) / (along.max() - along.min())
    first, second = _colour(rng), _colour(rng)
    blend = first + (second - first) * along[..., None]
    return Image.fromarray(np.round(blend).astype("uint8"))


def put_on(stamp, background, rng):
    """The stamp at a random size and place, sometimes mirrored; parts of it may be outside."""
    size = background.width
    scale = size * rng.uniform(0.6, 1.6) / max(stamp.size)
    shape = [max(1, round(side * scale)) for side in stamp.size]
    if rng.random() < 0.5:
        stamp = stamp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # Premultiplied, so that the colour of what is transparent does not bleed into the edge.
    stamp = stamp.convert("RGBa").resize(shape, Image.Resampling.LANCZOS).convert("RGBA")
    centre = rng.uniform(0.3, 0.7, 2) * size
    place = [round(centre[axis] - shape[axis] / 2) for axis in range(2)]
    result = background.copy()
    result.paste(stamp, place, stamp)
    return result

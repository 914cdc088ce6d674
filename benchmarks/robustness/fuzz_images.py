"""Try damaged pictures, label maps and captions: python -m benchmarks.robustness.fuzz_images

Each is read alone, and as one of three examples of a folder, whose other two have to come through.
A case is a finding if it crashes, hangs, takes more than 1 GB, or fails in another way than a
ValueError or OSError that names the file; or if it stops the folder.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.robustness.damaged_pictures import damaged_picture, handmade_pictures
from benchmarks.robustness.fuzzing import fuzz, report

SIZE = 32
SUFFIXES = (".png", ".jpg", ".tif", ".gif", ".bmp", ".webp")
LINES = (
    b'{"file": "bad", "caption": "a"}', b'{"file": "bad", "captions": ["a", 3]}', b"\xff\xfe\x00",
    b'{"file": "bad", "caption": "\\ud800"}', b"[" * 50_000, b'{"a": ' * 50_000, b"null", b"3",
    b'{"file": null, "caption": []}', b'{"file": "bad", "caption": "\xe9"}', b"x" * 3_000_000,
    b'{"file": {"a": 1}, "text": "b"}', b'{"file": "../../x\\u0000", "caption": "a"}', b"9" * 9_000,
)  # fmt: skip


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="how many cases [1000]")
    parser.add_argument("--first", type=int, default=0, help="number of the first one [0]")
    args = parser.parse_args(arguments)
    handmade = handmade_pictures()
    with tempfile.TemporaryDirectory() as folder:
        maker = CaseMaker(Path(folder), handmade)
        return report(*fuzz(maker, read, args.count, args.first))


class CaseMaker:
    """Writes the folder of a case, and gives the path of what is damaged in it."""

    def __init__(self, folder, handmade):
        self._folder, self._handmade = folder, list(handmade.items())

    def __call__(self, number):
        shutil.rmtree(self._folder / f"case_{number - 1}", ignore_errors=True)
        case = self._folder / f"case_{number}"
        for folder in ("images", "labels"):
            (case / folder).mkdir(parents=True)
        for name in ("good_1", "good_2", f"bad_{number}"):
            Image.new("RGB", (SIZE, SIZE), (1, 2, 3)).save(case / "images" / f"{name}.png")
            Image.new("L", (SIZE, SIZE), 1).save(case / "labels" / f"{name}.png")
            (case / "images" / f"{name}.txt").write_text("a caption")
        kind = number % 4
        if kind == 3:
            return self._captions(case, number)
        folder = case / ("images" if kind < 2 else "labels")
        (folder / f"bad_{number}.png").unlink()
        path = folder / f"bad_{number}{SUFFIXES[number % len(SUFFIXES)]}"
        special = number // 4 + 1000 * kind
        if number < 4 * len(self._handmade):
            path.write_bytes(self._handmade[special % 1000][1])
        elif special % 50 == 0:
            os.mkfifo(path)
        elif special % 50 == 1:
            path.symlink_to("/dev/zero")
        else:
            path.write_bytes(damaged_picture(number))
        return path

    def _captions(self, case, number):
        rng = np.random.default_rng(number)
        good = [json.dumps({"file": f"good_{i}", "caption": "a caption"}).encode() for i in (1, 2)]
        lines = [LINES[i] for i in rng.integers(0, len(LINES), 3)]
        if number % 8 == 3:
            path = case / "images" / f"bad_{number}.txt"
            path.write_bytes(b"\n".join(lines))
            return path
        path = (
            case
            / ("captions.jsonl", "metadata.jsonl", "metadata.csv", "captions_x.json")[
                number // 8 % 4
            ]
        )
        data = bytearray(b"\n".join([good[0], *lines, good[1]]))
        for at in rng.integers(0, len(data), int(rng.integers(4))):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        return path


def read(path):
    """Reads a case: as part of its folder, then what is damaged alone."""
    from keras_regvq.data import SCENE_PALETTE, load
    from keras_regvq.data.decoding import read_image
    from keras_regvq.data.label_maps import read_labels

    case = next(parent for parent in path.parents if parent.name.startswith("case_"))
    options = {"fields": ("images", "labels", "captions"), "batch_size": None, "cache": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = load(f"folder:{case}", "all", SIZE, **options)
            examples = list(dataset.as_numpy_iterator())
        except Exception as error:
            raise RuntimeError(f"it stops its folder: {type(error).__name__}: {error}") from error
        good = sum((e["images"] == (1, 2, 3)).all() and (e["labels"] == 1).all() for e in examples)
        if good < 2:
            raise RuntimeError(f"its folder has {good} of its good examples")
        if path.parent.name == "images" and path.suffix != ".txt":
            read_image(path, SIZE)
        elif path.parent.name == "labels":
            read_labels(path, (SIZE, SIZE), palette=SCENE_PALETTE)


if __name__ == "__main__":
    sys.exit(main())

"""Procedural scenes: small pictures whose content is known, from a seed, at any size.

Nothing is downloaded, and a picture's label map and caption are true by construction, so what a
model generates can be checked against what it was asked for.
"""

from dataclasses import dataclass

import numpy as np

from keras_regvq.checks.arguments import check_choice, check_integer, check_size
from keras_regvq.data.decoding import squeeze_image, squeeze_labels, to_uint8
from keras_regvq.data.procedural.captions import caption
from keras_regvq.data.procedural.drawing import draw
from keras_regvq.data.procedural.landscape import CLOUD, FIRST_OBJECT, HILL, MOON, SUN
from keras_regvq.data.procedural.plan import GROUNDS, HELD_OUT, KINDS, SPLITS, plan_scene

SCENE_CLASSES = ("sky", "cloud", "sun", "moon", "hill", *GROUNDS, *KINDS)
"""Names of the label maps' 16 classes, in order."""

SCENE_PALETTE = np.array(
    [
        *((135, 190, 235), (236, 240, 245), (255, 221, 87), (206, 206, 255), (122, 143, 105)),
        *((96, 169, 60), (222, 196, 132), (250, 250, 255), (45, 105, 170)),
        *((196, 60, 50), (28, 92, 40), (250, 140, 40), (150, 40, 140), (90, 60, 30)),
        *((235, 100, 170), (70, 70, 80)),
    ],
    np.uint8,
)
"""A colour for each class, uint8 (16, 3): `SCENE_PALETTE[labels]` is a picture of a label map."""

VISIBLE_PIXELS = 20
"""What covers at least this many pixels of the 64 pixel picture counts as visible."""

_FACTS_SIZE = 64


@dataclass(frozen=True)
class Scene:
    """A scene: its picture, and what is in it.

    Attributes:
        image: uint8 (size, size, 3).
        labels: int32 (size, size), indices into `SCENE_CLASSES`.
        caption: One sentence, without capitals or a full stop, that names only what is visible.
        attributes: What is visible, the same at every size:
            "time" ("day", "sunset", "dusk", "night"), "ground" ("grass", "sand", "snow", "water"),
            "sky_body" ("sun", "moon" or None), "clouds" (how many are drawn, 0 if too few of
            their pixels are visible), "hills" ("hills", "mountains" or None),
            "objects": a list, far to near, of dicts with "kind", "colour", "box" (left, top,
            right, bottom of the visible part, in [0, 1]) and "visible_pixels" (at 64 pixels), and
            "unseen": whether a visible object is of a `HELD_OUT` (colour, kind).

    Example:
        ```python
        scene = keras_regvq.data.scene(seed=11)
        scene.caption  # "a green house and a blue tree on the grass in the daytime"
        [thing["kind"] for thing in scene.attributes["objects"]]  # ["house", "tree"]
        np.unique(scene.labels)  # the classes in the picture
        ```
    """

    image: np.ndarray
    labels: np.ndarray
    caption: str
    attributes: dict


def scene(seed, size=64, split="train"):
    """Draws the scene of `seed`.

    The same seed is the same scene at every `size`. The splits "train" and "test" number their
    scenes apart: no seed of one is a scene of the other. `HELD_OUT` pairs of colour and kind never
    occur in "train".

    Args:
        seed: Integer >= 0.
        size: Side of the picture in pixels, at least 16.
        split: "train" or "test".

    Returns:
        A `Scene`.

    Example:
        ```python
        scene = keras_regvq.data.scene(seed=11, size=128)
        scene.image.shape  # (128, 128, 3)
        colours = keras_regvq.data.SCENE_PALETTE[scene.labels]  # uint8 (128, 128, 3)
        ```
    """
    seed, size = check_integer("seed", seed, 0), check_integer("size", size, 16)
    plan = plan_scene(seed, check_choice("split", split, SPLITS))
    image, identities = draw(plan, size)
    facts = identities if size == _FACTS_SIZE else draw(plan, _FACTS_SIZE)[1]
    attributes = _attributes(plan, facts)
    return Scene(
        image=image,
        labels=_class_of_identity(plan)[identities],
        caption=caption(attributes, seed, split),
        attributes=attributes,
    )


def scenes(count, size=64, split="train", first_seed=0):
    """Draws the `count` scenes of the seeds from `first_seed` on.

    Returns:
        A dict: "images" uint8 (count, size, size, 3), "labels" int32 (count, size, size),
        "captions" (count,) unicode, "attributes" a list of dicts (see `Scene`).

    Example:
        ```python
        scenes = keras_regvq.data.scenes(4, size=64, first_seed=11)
        maps = scenes["labels"]  # int32 (4, 64, 64)
        scenes["captions"][0]  # "a green house and a blue tree on the grass in the daytime"
        ```
    """
    check_integer("count", count, 1)
    check_integer("first_seed", first_seed, 0)
    drawn = [scene(first_seed + i, size, split) for i in range(count)]
    return {
        "images": np.stack([s.image for s in drawn]),
        "labels": np.stack([s.labels for s in drawn]),
        "captions": np.array([s.caption for s in drawn]),
        "attributes": [s.attributes for s in drawn],
    }


def _class_of_identity(plan):
    names = ("sky", "cloud", "sun", "moon", "hill", plan.ground, *(o.kind for o in plan.objects))
    return np.array([SCENE_CLASSES.index(name) for name in names], np.int32)


def _attributes(plan, identities):
    counts = np.bincount(identities.ravel(), minlength=FIRST_OBJECT + len(plan.objects))
    visible = counts >= VISIBLE_PIXELS
    objects = []
    for i, thing in enumerate(plan.objects, FIRST_OBJECT):
        if not visible[i]:
            continue
        rows, columns = np.nonzero(identities == i)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        objects.append(
            {
                "kind": thing.kind,
                "colour": thing.colour,
                "box": tuple(float(side) / _FACTS_SIZE for side in box),
                "visible_pixels": int(counts[i]),
            }
        )
    return {
        "time": plan.time,
        "ground": plan.ground,
        "sky_body": plan.body if visible[SUN] or visible[MOON] else None,
        "clouds": len(plan.clouds) if visible[CLOUD] else 0,
        "hills": plan.hills if visible[HILL] else None,
        "objects": objects,
        "unseen": any((o["colour"], o["kind"]) in HELD_OUT for o in objects),
    }


class SceneExamples:
    """The scenes of a split by number, for `load`: 2000 to train and 500 to test by default.

    Split "all" has one scene for testing after every four for training. A picture that is not
    square is a square one, squeezed: so all that its caption names is in it.
    """

    parallel = False

    def __init__(self, split, size, count=None, first_seed=0, channels=3):
        self.size, self.channels = check_size("image_size", size, 16), channels
        self._split, self._count = split, count or {"train": 2000, "test": 500, "all": 2500}[split]
        self._first = check_integer("first_seed", first_seed, 0)

    def __len__(self):
        return self._count

    def name(self, index):
        split, seed = self._seed(index)
        return f"{split}/{seed:08}"

    def read_alone(self, index, fields):
        return self.read(index, fields)

    def _seed(self, index):
        """The split and the seed of a scene."""
        split = self._split
        if split == "all":
            split = "test" if index % 5 == 4 else "train"
            index = index // 5 if split == "test" else index - index // 5
        return split, self._first + index

    def read(self, index, fields):
        split, seed = self._seed(index)
        drawn = scene(seed, max(self.size), split)
        return {
            "images": to_uint8(squeeze_image(drawn.image, *self.size), self.channels),
            "labels": squeeze_labels(drawn.labels, *self.size),
            "captions": (drawn.caption,),
        }

"""What is in a scene: every random choice, made in unit coordinates before anything is drawn.

x runs right and y runs down, both from 0 to 1, whatever the size of the drawn picture.
"""

from dataclasses import dataclass, field

import numpy as np

KINDS = ("house", "tree", "boat", "car", "tent", "balloon", "lighthouse")
COLOURS = {
    "red": (0.86, 0.17, 0.15),
    "yellow": (0.98, 0.80, 0.14),
    "green": (0.18, 0.62, 0.26),
    "blue": (0.15, 0.40, 0.88),
    "purple": (0.57, 0.23, 0.74),
    "white": (0.95, 0.95, 0.93),
}
TIMES = ("day", "sunset", "dusk", "night")
_ON_LAND = ("house", "house", "tree", "tree", "car", "tent", "balloon", "lighthouse")
GROUNDS = {  # what may be there; twice as likely if named twice
    "grass": _ON_LAND,
    "sand": (*_ON_LAND, "boat", "boat"),
    "snow": _ON_LAND,
    "water": ("boat", "boat", "boat", "balloon", "lighthouse"),
}
HELD_OUT = (("red", "boat"), ("purple", "tree"), ("yellow", "car"), ("blue", "tent"))
"""(colour, kind) pairs that split "train" never shows and split "test" does."""

SPLITS = ("train", "test")

_HEIGHTS = {
    "house": 0.40,
    "tree": 0.46,
    "boat": 0.42,
    "car": 0.20,
    "tent": 0.27,
    "balloon": 0.36,
    "lighthouse": 0.62,
}


@dataclass(frozen=True)
class PlannedObject:
    """One object: the x of its middle, the y it stands on and its height, 1 is the picture's side.

    `variant` in [0, 1) picks between drawings of the same kind; `facing` is -1 or 1.
    """

    kind: str
    colour: str
    rgb: np.ndarray
    x: float
    base: float
    height: float
    variant: float
    facing: int


@dataclass(frozen=True)
class ScenePlan:
    """All that the drawing and the caption need. `light` is the x the light comes from."""

    time: str
    ground: str
    horizon: float
    light: float
    body: str | None  # "sun", "moon" or nothing in the sky
    body_at: tuple
    body_radius: float
    body_phase: float
    hills: str | None  # "hills", "mountains"
    ridges: list = field(
        repr=False
    )  # per layer: (height, peaks (P, 3) of x, relative height, width)
    clouds: list = field(repr=False)  # per cloud: puffs (P, 3) of x, y, radius
    stars: np.ndarray = field(repr=False)  # (S, 3): x, y, brightness
    specks: np.ndarray = field(repr=False)  # (S, 2): x, depth
    noise: np.ndarray = field(
        repr=False
    )  # (2, 25, 49): lattices that the ground's texture is interpolated from
    tint: np.ndarray = field(repr=False)  # (3,): small shift of the sky's colour
    objects: tuple = ()  # far to near


def plan_scene(seed, split):
    """Draws the scene of `seed` (an integer >= 0) in the stream of `split` ("train" or "test")."""
    rng = np.random.default_rng([SPLITS.index(split), seed, 0x5CE7E])
    time = TIMES[rng.choice(4, p=(0.4, 0.2, 0.15, 0.25))]
    ground = tuple(GROUNDS)[rng.choice(4, p=(0.3, 0.22, 0.22, 0.26))]
    horizon = rng.uniform(0.42, 0.58)
    light = rng.uniform(0.12, 0.88)
    body, body_at, body_radius = _sky_body(rng, time, horizon, light)
    hills = (None, "hills", "mountains")[rng.choice(3, p=(0.3, 0.4, 0.3))]
    return ScenePlan(
        time=time,
        ground=ground,
        horizon=horizon,
        light=light,
        body=body,
        body_at=body_at,
        body_radius=body_radius,
        body_phase=rng.choice((0.0, 0.55, 0.8)) * rng.choice((-1, 1)),
        hills=hills,
        ridges=_ridges(rng, hills),
        clouds=[_cloud(rng, horizon) for _ in range(rng.choice(4, p=(0.3, 0.25, 0.25, 0.2)))],
        stars=rng.random((60 if time == "night" else 14 if time == "dusk" else 0, 3)),
        specks=rng.random((rng.integers(10, 26), 2)),
        noise=rng.random((2, 25, 49), dtype=np.float32) * 2 - 1,
        tint=rng.uniform(-0.03, 0.03, 3),
        objects=_objects(rng, ground, horizon, split),
    )


def _sky_body(rng, time, horizon, light):
    present = rng.random() < {"day": 0.65, "sunset": 0.9, "dusk": 0.4, "night": 0.75}[time]
    height = {"sunset": rng.uniform(0.0, 0.12)}.get(time, rng.uniform(0.24, 0.36))
    at = (light, max(horizon - height, 0.1))
    if not present:
        return None, at, 0.0
    body = "sun" if time in ("day", "sunset") else "moon"
    return body, at, rng.uniform(0.06, 0.08) * (1.25 if time == "sunset" else 1.0)


def _ridges(rng, hills):
    if hills is None:
        return []
    layers = []
    for layer in range(rng.integers(1, 3)):
        count = rng.integers(3, 6)
        peaks = np.stack(
            [
                (np.arange(count) + rng.uniform(0.0, 1.0, count)) / count,
                rng.uniform(0.45, 1.0, count),
                rng.uniform(0.16, 0.34, count),
            ],
            axis=1,
        )
        height = rng.uniform(0.16, 0.25) if hills == "mountains" else rng.uniform(0.08, 0.14)
        layers.append((height * (1.0 - 0.4 * layer), peaks))
    return layers


def _cloud(rng, horizon):
    width = rng.uniform(0.10, 0.19)
    x, y = rng.uniform(0.08, 0.92), rng.uniform(0.13, horizon - 0.2)
    along = np.linspace(-1, 1, 5) + rng.uniform(-0.12, 0.12, 5)
    radius = width * (0.52 - 0.2 * along**2) * rng.uniform(0.8, 1.15, 5)
    return np.stack([x + along * width, y - 0.35 * radius, radius], axis=1)


def _objects(rng, ground, horizon, split):
    count = rng.choice((1, 2, 3, 4), p=(0.25, 0.35, 0.25, 0.15))
    slots = (rng.permutation(count) + 0.5) / count + rng.uniform(-0.3, 0.3, count) / count
    depths = np.sort(rng.uniform(0.12, 0.9, count))
    taken, objects, balloons = set(), [], []
    for slot, depth in zip(slots, depths, strict=True):
        kind = str(rng.choice(GROUNDS[ground]))
        colours = [
            c
            for c in COLOURS
            if (c, kind) not in taken and not (split == "train" and (c, kind) in HELD_OUT)
        ]
        colour = colours[rng.integers(len(colours))]
        taken.add((colour, kind))
        height = _HEIGHTS[kind] * (0.55 + 0.6 * depth) * rng.uniform(0.92, 1.08)
        base = horizon + (1 - horizon) * (0.08 + 0.84 * depth)
        if kind == "balloon":
            base = max(rng.uniform(0.16, horizon - 0.02), 0.04 + height)
        made = PlannedObject(
            kind=kind,
            colour=colour,
            rgb=np.clip(np.array(COLOURS[colour]) + rng.uniform(-0.03, 0.03, 3), 0, 1),
            x=float(np.clip(slot, 0.12, 0.88)),
            base=base,
            height=height,
            variant=rng.random(),
            facing=int(rng.choice((-1, 1))),
        )
        (balloons if kind == "balloon" else objects).append(made)
    return tuple(balloons + objects)

"""Says in English what is visible in a scene."""

import numpy as np

from keras_regvq.data.procedural.plan import SPLITS

_TIMES = {
    "day": ("during the day", "in the daytime", "by day"),
    "sunset": ("at sunset", "at sunset", "under a sunset sky"),
    "dusk": ("at dusk", "at twilight"),
    "night": ("at night", "by night", "under a night sky"),
}
_PLACES = {
    "grass": ("on the grass", "on a grassy field", "in a meadow of grass"),
    "sand": ("on the sand", "on sandy ground", "on a stretch of sand"),
    "snow": ("in the snow", "on the snow", "on a snowy field"),
    "water": ("on the water", "on open water", "on rippling water"),
}
_OVER = {"grass": "over the grass", "sand": "over the sand", "snow": "over the snow"}


def caption(attributes, seed, split):
    """One sentence about `attributes` (see `scene`); its wording is drawn from `seed` and `split`.

    Every visible object, the ground and the time of day are always named; sun or moon, clouds and
    hills only if they are visible, and not always then.
    """
    rng = np.random.default_rng([SPLITS.index(split), seed, 0xCA97])

    def one_of(choices):
        return choices[rng.integers(len(choices))]

    objects = list(attributes["objects"])
    rng.shuffle(objects)
    standing = [_name(thing) for thing in objects if thing["kind"] != "balloon"]
    floating = [_name(thing) for thing in objects if thing["kind"] == "balloon"]
    ground = attributes["ground"]
    over = _OVER.get(ground, "over the water")
    sky_word = one_of(("in the sky", "in the air", "overhead"))
    place, time = one_of(_PLACES[ground]), one_of(_TIMES[attributes["time"]])
    if standing and floating:
        what = one_of(
            (
                f"{_and(standing)} {place} with {_and(floating)} {sky_word}",
                f"{_and(floating)} above {_and(standing)} {place}",
            )
        )
    elif standing:
        what = f"{_and(standing)} {place}"
    elif floating:
        what = f"{_and(floating)} {one_of(('', 'floating ', 'drifting '))}{over}"
    else:
        what = {"water": "open water", "grass": "a field of grass"}.get(
            ground, f"a plain of {ground}"
        )
    above, behind = _backdrop(attributes, rng, one_of)
    if above:
        behind = f" under {above}{behind}"
        time = _TIMES[attributes["time"]][0]  # one "under" is enough
    return f"{time}, {what}{behind}" if rng.random() < 0.3 else f"{what} {time}{behind}"


def _backdrop(attributes, rng, one_of):
    body, clouds, hills = attributes["sky_body"], attributes["clouds"], attributes["hills"]
    above, behind = [], ""
    if body and rng.random() < 0.7:
        low = attributes["time"] == "sunset"
        above.append(
            one_of(("a low sun", "the setting sun") if low else (f"the {body}", f"a {body}"))
        )
    if clouds and rng.random() < 0.6:
        above.append(one_of(("clouds", "some clouds") if clouds > 1 else ("a cloud", "one cloud")))
    if hills and rng.random() < 0.6:
        behind = one_of((f" with {hills} behind", f" with {hills} in the distance"))
    return _and(above) if above else "", behind


def _name(thing):
    return f"a {thing['colour']} {thing['kind']}"


def _and(names):
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]

"""How each kind of object is drawn: u to the side, v up from where it stands, 1 is its height."""

import numpy as np

_CREAM = (0.97, 0.94, 0.86)
_WOOD = (0.44, 0.29, 0.17)
_DARK = (0.15, 0.15, 0.18)
_GLASS = (0.66, 0.80, 0.90)
_LAMP = (1.0, 0.86, 0.48)
_ROOFS = ((0.36, 0.33, 0.36), (0.45, 0.30, 0.22))


def draw_object(frame, kind, rgb, variant, lamps, wet):
    """Draws `kind` in the colour `rgb`; `lamps`: its windows are lit; `wet`: it stands in water."""
    _DRAWINGS[kind](frame, np.asarray(rgb), variant, lamps, wet)


def half_width(kind):
    """Half the width of the ground that `kind` stands on, in units of its height."""
    return {"house": 0.62, "tree": 0.26, "boat": 0.42, "car": 1.0, "tent": 0.75, "lighthouse": 0.2}[
        kind
    ]


def _window(frame, left, right, bottom, top, lamps):
    frame.box(left - 0.02, right + 0.02, bottom - 0.02, top + 0.02, _CREAM)
    frame.box(left, right, bottom, top, _LAMP if lamps else _GLASS, glows=lamps)


def _house(frame, rgb, variant, lamps, wet):
    roof = np.array(_ROOFS[variant > 0.5])
    frame.box(0.28, 0.38, 0.7, 1.06, roof * 0.8)  # chimney
    frame.box(-0.02, 0.56, 0, 0.56, rgb * 0.82)  # side wall
    frame.polygon([(-0.56, 0), (0, 0), (0, 0.54), (-0.28, 0.92), (-0.56, 0.54)], rgb, shade=0.08)
    frame.polygon([(-0.3, 0.98), (0.36, 0.98), (0.64, 0.52), (-0.01, 0.5)], roof, shade=0.15)
    frame.polygon([(-0.3, 0.98), (-0.2, 0.98), (-0.55, 0.48), (-0.65, 0.48)], roof * 0.75)
    frame.box(-0.37, -0.19, 0, 0.34, _WOOD)
    _window(frame, -0.35, -0.21, 0.47, 0.62, lamps)
    _window(frame, 0.1, 0.24, 0.2, 0.38, lamps)
    _window(frame, 0.36, 0.5, 0.2, 0.38, lamps)


def _tree(frame, rgb, variant, lamps, wet):
    frame.polygon([(-0.06, 0), (0.06, 0), (0.035, 0.5), (-0.035, 0.5)], _WOOD, shade=0.3)
    if variant < 0.45:  # conifer
        for bottom, top, width, light in (
            (0.16, 0.58, 0.30, 0.8),
            (0.36, 0.8, 0.24, 0.9),
            (0.58, 1.0, 0.18, 1),
        ):
            frame.polygon([(-width, bottom), (width, bottom), (0, top)], rgb * light, shade=0.22)
        return
    crown = (
        (-0.17, 0.52, 0.19),
        (0.18, 0.54, 0.18),
        (-0.08, 0.74, 0.2),
        (0.1, 0.78, 0.19),
        (0, 0.6, 0.22),
    )
    for u, v, radius in crown:
        frame.ellipse(u, v, radius, radius, rgb * 0.9, shade=0.3)
    for u, v in ((-0.16, 0.58), (0.05, 0.82), (0.17, 0.6), (-0.02, 0.64)):
        u += 0.05 * frame.light
        frame.ellipse(
            u, v, 0.075, 0.06, np.minimum(rgb * 1.22 + 0.03, 1), opacity=0.6, covers=False
        )


def _boat(frame, rgb, variant, lamps, wet):
    sail = np.array(_CREAM) * (1.0 if rgb.min() < 0.8 else 0.86)
    frame.box(-0.015, 0.015, 0.15, 1.0, _WOOD)
    frame.polygon([(0.03, 0.3), (0.38, 0.3), (0.03, 0.96)], sail, shade=0.12)
    frame.polygon([(-0.03, 0.3), (-0.3, 0.3), (-0.03, 0.86)], rgb, shade=0.15)
    low = 0.02 if wet else 0.0
    frame.polygon([(-0.36, 0.24), (0.46, 0.24), (0.3, low), (-0.26, low)], rgb * 0.92, shade=0.2)
    frame.polygon([(-0.35, 0.235), (0.455, 0.235), (0.43, 0.195), (-0.335, 0.195)], _CREAM)


def _car(frame, rgb, variant, lamps, wet):
    frame.polygon([(-0.62, 0.52), (0.5, 0.52), (0.26, 0.98), (-0.4, 0.98)], rgb * 0.94, shade=0.08)
    frame.polygon(
        [(-0.5, 0.54), (-0.1, 0.54), (-0.1, 0.88), (-0.34, 0.88)],
        _LAMP if lamps else _GLASS,
        glows=lamps,
    )
    frame.polygon(
        [(-0.02, 0.54), (0.36, 0.54), (0.2, 0.88), (-0.02, 0.88)],
        _LAMP if lamps else _GLASS,
        glows=lamps,
    )
    frame.box(-0.9, 0.94, 0.2, 0.5, rgb, shade=0.12)
    frame.ellipse(-0.86, 0.4, 0.14, 0.19, rgb)
    frame.ellipse(0.86, 0.37, 0.16, 0.17, rgb)
    frame.box(-0.9, 0.96, 0.19, 0.26, rgb * 0.6)
    frame.ellipse(0.92, 0.42, 0.07, 0.07, _LAMP, glows=lamps)
    for u in (-0.52, 0.54):
        frame.ellipse(u, 0.2, 0.21, 0.21, _DARK)
        frame.ellipse(u, 0.2, 0.1, 0.1, (0.72, 0.72, 0.74))


def _tent(frame, rgb, variant, lamps, wet):
    frame.polygon([(-0.2, 1.0), (0.36, 0.9), (0.78, 0), (0.3, 0)], rgb * 0.74, shade=0.1)
    frame.polygon([(-0.72, 0), (0.32, 0), (-0.2, 1.0)], rgb, shade=0.12)
    inside = _LAMP if lamps else tuple(rgb * 0.28)
    frame.polygon([(-0.38, 0), (-0.02, 0), (-0.2, 0.66)], inside, glows=lamps)
    frame.box(-0.215, -0.185, 0.9, 1.06, _WOOD)


def _balloon(frame, rgb, variant, lamps, wet):
    light = np.minimum(rgb * 0.55 + 0.42, 1.0) if rgb.min() < 0.8 else rgb * 0.82
    for side in (-1, 1):
        frame.polygon(
            [(side * 0.2, 0.4), (side * 0.22, 0.4), (side * 0.08, 0.14), (side * 0.06, 0.14)], _DARK
        )
    frame.polygon(
        [(-0.335, 0.52), (0.335, 0.52), (0.12, 0.27), (-0.12, 0.27)], rgb * 0.92, shade=0.2
    )
    frame.ellipse(0, 0.64, 0.36, 0.36, rgb, shade=0.25)
    frame.ellipse(0, 0.64, 0.13, 0.355, light, shade=0.15)
    frame.polygon([(-0.122, 0.5), (0.122, 0.5), (0.045, 0.27), (-0.045, 0.27)], light * 0.94)
    frame.box(-0.09, 0.09, 0, 0.15, _WOOD, shade=0.2)
    frame.box(-0.1, 0.1, 0.125, 0.16, np.array(_WOOD) * 1.4)


def _lighthouse(frame, rgb, variant, lamps, wet):
    band = np.array(_CREAM) if rgb.min() < 0.8 else np.array((0.62, 0.62, 0.66))
    if wet:
        frame.ellipse(0.02, 0.0, 0.27, 0.075, (0.33, 0.31, 0.31), shade=0.3)
        frame.ellipse(-0.1, 0.03, 0.12, 0.07, (0.42, 0.40, 0.39), shade=0.3)
    frame.polygon([(-0.15, 0.02), (0.15, 0.02), (0.095, 0.76), (-0.095, 0.76)], rgb, shade=0.22)
    frame.polygon([(-0.134, 0.24), (0.134, 0.24), (0.122, 0.4), (-0.122, 0.4)], band, shade=0.2)
    frame.box(-0.045, 0.045, 0.02, 0.14, _DARK)
    frame.box(-0.14, 0.14, 0.74, 0.79, _DARK)
    frame.box(-0.075, 0.075, 0.79, 0.9, _LAMP if lamps else _GLASS, glows=lamps)
    frame.polygon([(-0.11, 0.9), (0.11, 0.9), (0, 1.0)], rgb * 0.7)


_DRAWINGS = {
    "house": _house,
    "tree": _tree,
    "boat": _boat,
    "car": _car,
    "tent": _tent,
    "balloon": _balloon,
    "lighthouse": _lighthouse,
}

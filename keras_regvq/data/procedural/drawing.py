"""Draws a planned scene at any size: the landscape, then the objects from far to near."""

import numpy as np

from keras_regvq.data.procedural.canvas import Canvas, Frame
from keras_regvq.data.procedural.landscape import FIRST_OBJECT, draw_landscape
from keras_regvq.data.procedural.objects import draw_object, half_width
from keras_regvq.data.procedural.palette import AMBIENT

_SHADOWS = {"day": 0.42, "sunset": 0.4, "dusk": 0.3, "night": 0.34}


def draw(plan, size):
    """Draws `plan` (a `ScenePlan`) at `size` pixels.

    Returns:
        image uint8 (size, size, 3) and, uint8 (size, size), what covers most of each pixel:
        SKY, CLOUD, SUN, MOON, HILL, GROUND, or FIRST_OBJECT + i for `plan.objects[i]`.
    """
    canvas = Canvas(size)
    draw_landscape(canvas, plan)
    for i, thing in enumerate(plan.objects):
        _draw_thing(canvas, plan, thing, FIRST_OBJECT + i)
    return canvas.image(), canvas.identities()


def _draw_thing(canvas, plan, thing, identity):
    towards = float(np.clip((plan.light - thing.x) * 2.5, -1, 1))  # the side that is lit
    lamps, wet = plan.time in ("dusk", "night"), plan.ground == "water"
    look = (thing.kind, thing.rgb, thing.variant, lamps, wet)
    place = (canvas, thing.x, thing.base, thing.height, thing.facing, towards, AMBIENT[plan.time])
    if thing.kind != "balloon":
        strength = _SHADOWS[plan.time]
        if wet:
            draw_object(Frame(*place, identity, mirrored=True), *look)
            strength *= 0.6
        half = half_width(thing.kind) * thing.height
        lean = -towards * half * (0.9 if plan.time == "sunset" else 0.5)
        _draw_shadow(canvas, thing.x + lean, thing.base, half * 1.2 + abs(lean) / 2, strength)
    draw_object(Frame(*place, identity), *look)


def _draw_shadow(canvas, x, y, half, strength):
    tall = 0.18 * half + 0.016
    rows, columns = canvas.window(x - half, x + half, y - tall, y + tall)
    u, v = (canvas.across[None, columns] - x) / half, (canvas.across[rows, None] - y) / tall
    soft = np.sqrt(np.maximum(1 - u**2 - v**2, 0))
    canvas.colour[:, rows, columns] *= 1 - strength * soft

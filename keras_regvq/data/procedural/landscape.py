"""Draws what lies behind the objects of a scene: sky, sun or moon, clouds, hills and ground."""

import numpy as np

from keras_regvq.data.procedural.palette import (
    AMBIENT,
    CLOUDS,
    GLOW,
    GROUND_COLOURS,
    SKY_STOPS,
    SNOWCAP,
    STAR,
    SUNSET_SNOW,
)

SKY, CLOUD, SUN, MOON, HILL, GROUND, FIRST_OBJECT = range(7)
"""What covers a pixel; the object `plan.objects[i]` is FIRST_OBJECT + i."""


def draw_landscape(canvas, plan):
    """Draws everything of `plan` but its objects on an empty canvas."""
    _sky(canvas, plan)
    if plan.body is not None:
        _sun_or_moon(canvas, plan)
    for puffs in plan.clouds:
        _cloud(canvas, plan, puffs)
    for layer, (height, peaks) in enumerate(plan.ridges):
        _ridge(canvas, plan, layer, height, peaks)
    _ground(canvas, plan)


def _sky(canvas, plan):
    stops = SKY_STOPS[plan.time] + plan.tint
    y = np.clip(canvas.across / plan.horizon, 0, 1)
    for channel in range(3):
        canvas.colour[channel] = np.interp(y, (0, 0.55, 1), stops[:, channel])[:, None]
    if len(plan.stars):
        x, high, bright = plan.stars.T
        dots = _spots(canvas, x, high * plan.horizon * 0.95, 0.2 + 0.8 * bright**2, 0.0045)
        canvas.colour += dots * STAR[:, None, None]


def _sun_or_moon(canvas, plan):
    (x, y), r, glow = plan.body_at, plan.body_radius, GLOW[plan.time]
    spread = {"day": 0.16, "sunset": 0.3, "dusk": 0.12, "night": 0.14}[plan.time]
    across, down = (np.exp(-(((canvas.across - at) / spread) ** 2) / 2) for at in (x, y))
    halo = (0.45 if plan.body == "sun" else 0.22) * down[:, None] * across
    canvas.colour += halo * (glow[:, None, None] - canvas.colour)
    rows, columns = canvas.window(x - r, x + r, y - r, y + r)
    u, v = canvas.across[None, columns] - x, canvas.across[rows, None] - y
    disc = np.clip(0.5 + (r - np.hypot(u, v)) / canvas.pixel, 0, 1)
    if plan.body == "moon" and plan.body_phase:
        bite = r - np.hypot(u - plan.body_phase * r, v + 0.25 * r)
        disc *= 1 - np.clip(0.5 + bite / canvas.pixel, 0, 1)
    canvas.blend(rows, columns, disc, glow, SUN if plan.body == "sun" else MOON)


def _cloud(canvas, plan, puffs):
    left, right = (puffs[:, 0] - puffs[:, 2]).min(), (puffs[:, 0] + puffs[:, 2]).max()
    top, floor = (puffs[:, 1] - puffs[:, 2]).min(), puffs[:, 1].max() + 0.012
    rows, columns = canvas.window(left, right, top, floor)
    u, v = canvas.across[None, columns], canvas.across[rows, None]
    inside = None
    for x, y, radius in puffs.tolist():
        depth = radius - np.hypot(u - x, v - y)
        inside = depth if inside is None else np.maximum(inside, depth, out=inside)
    edge = max(canvas.pixel, 0.008)
    coverage = np.clip(0.5 + np.minimum(inside, floor - v) / edge, 0, 1) * 0.94
    lit, shaded = CLOUDS[plan.time][..., None, None]
    height = np.clip((floor - v) * (1.4 / (floor - top)), 0, 1)
    canvas.blend(rows, columns, coverage, shaded + height * (lit - shaded), CLOUD)


def _ridge(canvas, plan, layer, height, peaks):
    x, ambient, sky = canvas.across, AMBIENT[plan.time], SKY_STOPS[plan.time][2]
    offsets = np.abs(x[None, :] - peaks[:, :1]) / peaks[:, 2:]
    if plan.hills == "mountains":
        rough = 0.04 * np.sin(61 * x + 9 * layer) + 0.03 * np.sin(127 * x)
        profile = (peaks[:, 1:2] * (1 - offsets * (1 + rough))).max(0)
        profile = np.maximum(profile, 0.14 + rough)
    else:
        profile = (peaks[:, 1:2] * np.exp(-2.0 * offsets**2)).sum(0)
        profile = 0.2 + 0.8 * profile / max(profile.max(), 1.0)
    top = (plan.horizon - height * profile)[None, :]
    rows, columns = canvas.window(0, 1, top.min(), plan.horizon + 2 * canvas.pixel)
    y = canvas.across[rows, None]
    coverage = np.clip(0.5 + (y - top) / canvas.pixel, 0, 1)
    haze = 0.5 if layer == 0 else 0.22
    rock = GROUND_COLOURS[plan.ground][4] * (1.0 if plan.hills == "hills" else 0.88)
    rock = (1 - haze) * rock * ambient + haze * sky
    colour = rock[:, None, None] * (1.06 - np.clip((y - top) * (0.2 / height), 0, 0.2))
    if plan.hills == "mountains":
        jagged = 0.6 + 0.1 * np.sin(47 * x + layer) + 0.07 * np.sin(101 * x)
        white = np.clip(0.5 + (plan.horizon - height * jagged - y) / max(canvas.pixel, 0.006), 0, 1)
        snow = 0.25 * sky + 0.75 * SNOWCAP * ambient
        colour += white * (snow[:, None, None] - colour)
    canvas.blend(rows, columns, coverage, colour, HILL)


def _ground(canvas, plan):
    rows, columns = canvas.window(0, 1, plan.horizon, 1)
    y = canvas.across[rows, None]
    depth = np.clip((y - plan.horizon) / (1 - plan.horizon), 0, 1)  # 0 at the horizon
    ambient = AMBIENT[plan.time]
    if plan.time == "sunset" and plan.ground == "snow":
        ambient = SUNSET_SNOW
    far, near, *specks, _ = GROUND_COLOURS[plan.ground] * ambient
    mirror = 0.5 if plan.ground == "water" else 0.12
    far = (1 - mirror) * far + mirror * SKY_STOPS[plan.time][2]
    colour = far[:, None, None] + np.sqrt(depth) * (near - far)[:, None, None]
    broad = _texture(canvas, plan.noise[0], depth, 12)
    fine = _texture(canvas, plan.noise[1], depth, 48)
    if plan.ground == "water":
        colour = _water(canvas, plan, colour, depth, broad, fine)
    elif plan.ground == "grass":
        colour = colour * (1 + (0.05 + 0.08 * depth) * broad + (0.02 + 0.12 * depth) * fine)
    elif plan.ground == "sand":
        ripple = np.sin(30 * np.log1p(4 * depth) + 3.0 * broad)
        colour = colour * (1 + 0.035 * depth * ripple + 0.05 * broad + 0.03 * fine)
    else:
        drift = 0.05 * np.maximum(-broad, 0) + 0.02 * np.maximum(-fine, 0)
        colour = colour * (1 - drift * np.array((1.6, 1.2, 0.5), np.float32)[:, None, None])
    if plan.ground != "water":
        for half, speck in zip((plan.specks[::2], plan.specks[1::2]), specks, strict=True):
            at_y = plan.horizon + (1 - plan.horizon) * (0.25 + 0.75 * half[:, 1])
            dots = _spots(canvas, half[:, 0], at_y, 0.4 + 0.4 * half[:, 1], 0.007)[rows]
            colour += dots * (speck[:, None, None] - colour)
    edge = np.clip(0.5 + (y - plan.horizon) / canvas.pixel, 0, 1)
    canvas.blend(rows, columns, np.repeat(edge, canvas.across.size, 1), colour, GROUND)


def _water(canvas, plan, colour, depth, broad, fine):
    swell = np.sin(42 * np.log1p(5 * depth) + 2.2 * broad)
    colour = colour * (1 + (0.05 + 0.09 * depth) * swell + 0.04 * fine)
    if plan.body is not None:  # the path of light on the water
        path = np.exp(-(((canvas.across - plan.body_at[0]) / (0.05 + 0.1 * depth)) ** 2))
        path *= np.clip(0.35 + 0.8 * swell, 0, 1) * 0.75
        colour += path * (GLOW[plan.time][:, None, None] - colour)
    return colour


def _spots(canvas, x, y, strength, spread):
    """Sum of small round spots, (n, n), each worked out near its middle only."""
    n = canvas.across.size
    near = np.arange(-int(3 * spread * n) - 1, int(3 * spread * n) + 2)
    columns, rows = (np.floor(at * n).astype(int)[:, None] + near for at in (x, y))
    across, down = (
        np.exp(-(((index + 0.5) / n - at[:, None]) ** 2) / (2 * spread**2))
        for index, at in ((columns, x), (rows, y))
    )
    values = (strength[:, None] * down)[:, :, None] * across[:, None, :]
    inside = ((rows >= 0) & (rows < n))[:, :, None] & ((columns >= 0) & (columns < n))[:, None, :]
    index = (rows * n)[:, :, None] + columns[:, None, :]
    spots = np.bincount(index[inside], values[inside], minlength=n * n)
    return spots.reshape(n, n).astype(np.float32)


def _texture(canvas, lattice, depth, columns):
    """Noise in [-1, 1], (rows, n), finer towards the horizon, interpolated from a lattice."""
    last = lattice.shape[0] - 1
    row, step = _places(last * np.log1p(6 * depth[:, 0]) / np.float32(np.log(7)), last)
    step = step[:, None]
    lines = lattice[row] * (1 - step) + lattice[row + 1] * step
    column, step = _places(canvas.across * columns, columns)
    return lines[:, column] * (1 - step) + lines[:, column + 1] * step


def _places(at, last):
    """The lattice point before each place, and how far, in a smooth step, to the next one."""
    index = np.minimum(at.astype(int), last - 1)
    part = (at - index).astype(np.float32)
    return index, part * part * (3 - 2 * part)

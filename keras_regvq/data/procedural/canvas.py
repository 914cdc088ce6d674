"""A NumPy canvas with anti-aliased shapes that look the same at every size."""

import math

import numpy as np

_FINEST = 128  # pictures smaller than this are drawn larger and averaged


class Canvas:
    """Planar float32 colours (3, n, n) and what covers each sample (n, n), in unit coordinates."""

    def __init__(self, size):
        self.size = size
        self.samples = max(1, -(-_FINEST // size))
        n = size * self.samples
        self.pixel = 1.0 / n
        self.across = (np.arange(n, dtype=np.float32) + 0.5) / n
        self.colour = np.zeros((3, n, n), np.float32)
        self.ids = np.zeros((n, n), np.uint8)

    def window(self, left, right, top, bottom):
        """The rows and columns (two slices) that a rectangle of unit coordinates touches."""
        n = self.across.size
        columns = slice(max(int(left * n) - 1, 0), min(max(int(right * n) + 2, 0), n))
        return slice(max(int(top * n) - 1, 0), min(max(int(bottom * n) + 2, 0), n)), columns

    def blend(self, rows, columns, coverage, colour, identity=None):
        """Mixes `colour` (3,) or (3, h, w) into a window by `coverage` (h, w).

        What is covered by half or more becomes `identity`.
        """
        window = self.colour[:, rows, columns]
        colour = np.asarray(colour, np.float32)
        if colour.ndim == 1:
            colour = colour[:, None, None]
        window += coverage * (colour - window)
        if identity is not None:
            self.ids[rows, columns][coverage >= 0.5] = identity

    def image(self):
        """The picture, uint8 (size, size, 3)."""
        k = self.samples
        picture = self.colour
        if k > 1:
            picture = sum(picture[:, :, j::k] for j in range(k))
            picture = sum(picture[:, i::k] for i in range(k)) / (k * k)
        return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0).copy()

    def identities(self):
        """What covers most of each pixel, uint8 (size, size)."""
        if self.samples == 1:
            return self.ids
        kinds = int(self.ids.max()) + 1
        pixel = np.arange(self.ids.shape[0]) // self.samples
        index = (pixel[:, None] * self.size + pixel[None, :]) * kinds + self.ids
        counts = np.bincount(index.ravel(), minlength=self.size**2 * kinds)
        return counts.reshape(self.size, self.size, kinds).argmax(-1).astype(np.uint8)


class Frame:
    """Draws in an object's own coordinates: u to the side, v up from its base, 1 is `scale`.

    `light` in [-1, 1] is the side the light comes from, `ambient` (3,) its colour. With `mirrored`
    the object is drawn upside down below its base, thinly, as water shows it, and covers nothing.
    """

    def __init__(self, canvas, x, base, scale, facing, light, ambient, identity, mirrored=False):
        self.canvas, self.x, self.base, self.scale = canvas, x, base, scale
        self.facing, self.light, self.ambient = facing, light * facing, ambient
        self.identity = None if mirrored else identity
        self.mirrored, self.opacity = mirrored, 0.34 if mirrored else 1.0
        self.pixel = canvas.pixel / scale

    def box(self, left, right, bottom, top, colour, **options):
        def coverage(u, v):
            return _overlap(u, left, right, self.pixel) * _overlap(v, bottom, top, self.pixel)

        self._fill((left, right, bottom, top), coverage, colour, **options)

    def ellipse(self, u0, v0, ru, rv, colour, **options):
        def coverage(u, v):
            r = np.sqrt(((u - u0) / ru) ** 2 + ((v - v0) / rv) ** 2)
            return _inside((r - 1) * min(ru, rv), self.pixel)

        self._fill((u0 - ru, u0 + ru, v0 - rv, v0 + rv), coverage, colour, **options)

    def polygon(self, points, colour, **options):
        """A convex polygon, its corners in either order."""
        corners = list(zip(points, points[1:] + points[:1], strict=True))
        area = sum(a * d - b * c for (a, b), (c, d) in corners)
        sides = []  # distance outside of each side: u * a + v * b - c
        for (u0, v0), (u1, v1) in corners:
            a, b = v1 - v0, u0 - u1
            length = math.copysign(math.hypot(a, b), area)
            sides.append((a / length, b / length, (a * u0 + b * v0) / length))

        def coverage(u, v):
            distance = None
            for a, b, c in sides:
                side = u * a + (v * b - c)
                distance = side if distance is None else np.maximum(distance, side, out=distance)
            return _inside(distance, self.pixel)

        across, up = zip(*points, strict=True)
        self._fill((min(across), max(across), min(up), max(up)), coverage, colour, **options)

    def _fill(self, bounds, coverage, colour, shade=0.0, glows=False, opacity=1.0, covers=True):
        left, right, bottom, top = bounds
        canvas = self.canvas
        up = 1 if self.mirrored else -1
        across = sorted(self.x + self.facing * self.scale * u for u in (left, right))
        down = sorted(self.base + up * self.scale * v for v in (bottom, top))
        rows, columns = canvas.window(*across, *down)
        u = (canvas.across[None, columns] - self.x) * (self.facing / self.scale)
        v = (canvas.across[rows, None] - self.base) * (up / self.scale)
        if not (u.size and v.size):
            return
        if self.mirrored:
            u = u + 0.02 * np.sin(v * 40)
        lit = np.asarray(colour, np.float32)
        if not glows:
            lit = lit * self.ambient
        if shade:
            side = (u - (left + right) / 2) * (2 / (right - left)) * self.light
            rise = (v - (bottom + top) / 2) * (2 / (top - bottom))
            lit = lit[:, None, None] * (1 + shade * (0.7 * side + 0.5 * rise)).astype(np.float32)
        mask = coverage(u, v)
        if opacity * self.opacity != 1.0:
            mask = mask * (opacity * self.opacity)
        canvas.blend(rows, columns, mask, lit, self.identity if covers else None)


def _inside(distance, pixel):
    return np.minimum(np.maximum(0.5 - distance / pixel, 0), 1)


def _overlap(at, low, high, pixel):
    """The share of the pixel around `at` that lies between `low` and `high`."""
    half = pixel / 2
    return np.maximum(np.minimum(at + half, high) - np.maximum(at - half, low), 0) / pixel

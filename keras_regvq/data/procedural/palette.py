"""The colours of the landscape, float32 RGB in [0, 1]: by time of day, and by kind of ground."""

import numpy as np


def _table(**rows):
    return {name: np.array(colours, np.float32) for name, colours in rows.items()}


SKY_STOPS = _table(  # the top of the sky, the middle, the horizon
    day=((0.22, 0.50, 0.88), (0.48, 0.72, 0.95), (0.82, 0.92, 0.98)),
    sunset=((0.33, 0.32, 0.60), (0.86, 0.48, 0.48), (1.0, 0.76, 0.42)),
    dusk=((0.13, 0.14, 0.36), (0.38, 0.28, 0.52), (0.80, 0.54, 0.60)),
    night=((0.02, 0.04, 0.13), (0.06, 0.10, 0.24), (0.14, 0.21, 0.40)),
)
AMBIENT = _table(  # the light that falls on everything below the sky
    day=(1.0, 1.0, 1.0),
    sunset=(1.0, 0.90, 0.83),
    dusk=(0.77, 0.74, 0.84),
    night=(0.53, 0.56, 0.72),
)
GLOW = _table(  # sun and moon
    day=(1.0, 0.96, 0.78), sunset=(1.0, 0.84, 0.5), dusk=(0.98, 0.96, 0.9), night=(0.98, 0.97, 0.88)
)
STAR = np.array((0.95, 0.95, 0.85), np.float32)
CLOUDS = _table(  # lit from above, shaded below
    day=((1.0, 1.0, 1.0), (0.80, 0.86, 0.93)),
    sunset=((1.0, 0.80, 0.66), (0.74, 0.50, 0.58)),
    dusk=((0.66, 0.54, 0.66), (0.40, 0.33, 0.50)),
    night=((0.27, 0.31, 0.46), (0.16, 0.19, 0.33)),
)
SUNSET_SNOW = np.array((0.95, 0.86, 0.90), np.float32)  # snow stays cooler than sand in a low sun
SNOWCAP = np.array((0.96, 0.97, 1.0), np.float32)
GROUND_COLOURS = _table(  # at the horizon, near by, two colours of specks, the hills behind
    grass=(
        (0.58, 0.73, 0.36),
        (0.27, 0.52, 0.20),
        (0.98, 0.93, 0.50),
        (0.97, 0.97, 0.95),
        (0.36, 0.56, 0.36),
    ),
    sand=(
        (0.95, 0.86, 0.66),
        (0.86, 0.70, 0.44),
        (0.62, 0.50, 0.36),
        (0.97, 0.92, 0.80),
        (0.74, 0.56, 0.42),
    ),
    snow=(
        (0.90, 0.93, 0.98),
        (0.97, 0.98, 1.0),
        (0.78, 0.84, 0.95),
        (1.0, 1.0, 1.0),
        (0.56, 0.62, 0.72),
    ),
    water=(
        (0.52, 0.74, 0.88),
        (0.10, 0.36, 0.58),
        (0.80, 0.90, 0.96),
        (0.80, 0.90, 0.96),
        (0.36, 0.52, 0.46),
    ),
)

"""The pictures of the guides: arrays in, matplotlib figures out. Nothing here is about Reg-VQ."""

import os
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

# Okabe and Ito's colours, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8C8C8C"


def figure(width, height, rows=1, columns=1, **options):
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made, made.subplots(rows, columns, squeeze=False, **options)


def save(made, script, number, name):
    """Write a figure as SCRIPT_NUMBER_NAME.png to $GUIDE_PICTURES, or to pictures/ beside it."""
    script = Path(script)
    folder = Path(os.environ.get("GUIDE_PICTURES", script.parent / "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    made.savefig(folder / f"{script.stem}_{number}_{name}.png", dpi=100)


def tile(patches, columns):
    """(n, p, p, 3) patches as one picture, with a light line between them."""
    side = patches.shape[1] + 1
    rows = -(-len(patches) // columns)
    canvas = np.ones((rows * side - 1, columns * side - 1, 3))
    for index, patch in enumerate(patches):
        y, x = index // columns * side, index % columns * side
        canvas[y : y + side - 1, x : x + side - 1] = patch
    return canvas


def tokenized(image, patches, tokens, decoded):
    """A picture, the codebook's patches, the token grid, and the picture the tokens stand for."""
    made, axes = figure(10, 3.0, columns=4)
    image_axes, book_axes, grid_axes, decoded_axes = axes[0]
    image_axes.imshow(image)
    book_axes.imshow(tile(patches, 16))
    colours = patches.mean((1, 2))[tokens]
    grid_axes.imshow(0.45 * colours + 0.55)
    for (y, x), token in np.ndenumerate(tokens):
        grid_axes.text(x, y, str(token), ha="center", va="center", fontsize=7.5)
    decoded_axes.imshow(decoded)
    height, width = tokens.shape
    titles = ("image", f"codebook: {len(patches)} codes", f"{height} x {width} tokens", "decoded")
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title)
        panel.set_axis_off()
    return made


def codes_and_points(points, panels, limit=1.35):
    """Scatter points with each panel's codes: {title: (codes (N, 2), used bool (N,))}."""
    made, axes = figure(3.35 * len(panels), 3.9, columns=len(panels))
    for panel, (title, (codes, used)) in zip(axes[0], panels.items(), strict=True):
        panel.scatter(*points.reshape(-1, 2).T, s=3, color="#C8C8C8", label="points")
        style = {"marker": "X", "s": 42, "color": RED, "edgecolor": "white", "linewidth": 0.5}
        panel.scatter(*codes[~used].T, label="dead codes", zorder=3, **style)
        style = {"marker": "o", "s": 42, "color": BLUE, "edgecolor": "white", "linewidth": 0.6}
        panel.scatter(*codes[used].T, label="used codes", zorder=4, **style)
        panel.set(title=title, xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        panel.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    handles, labels = axes[0][-1].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return made


def bars(panels, width, height, columns=None):
    """Bar plots: a list of dicts with "title", "series" {label: (values, colour)}, "ylabel"."""
    columns = columns or len(panels)
    made, axes = figure(width, height, -(-len(panels) // columns), columns)
    for panel, content in zip(axes.flat, panels, strict=True):
        count = len(content["series"])
        for index, (label, (values, colour)) in enumerate(content["series"].items()):
            offset = (index - (count - 1) / 2) * 0.8 / count
            places = np.arange(len(values)) + offset
            panel.bar(places, values, 0.8 / count, color=colour, label=label)
        panel.axhline(0, color="black", linewidth=0.8)
        panel.set(title=content["title"], ylabel=content.get("ylabel", ""), xlabel="code")
        panel.set_xticks(range(len(values)))
        if "ylim" in content:
            panel.set_ylim(content["ylim"])
        if count > 1:
            panel.legend(frameon=False, fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    return made


def masks(image, grids):
    """A picture alone, then with the cells of each grid (h, w) marked."""
    made, axes = figure(10, 2.8, columns=1 + len(grids))
    axes[0][0].set_title("image")
    for panel, grid in zip(axes[0], [None, *grids], strict=True):
        panel.imshow(image)
        panel.set_axis_off()
        if grid is not None:
            scale = len(image) // len(grid)
            cells = np.kron(grid, np.ones((scale, scale)))
            veil = np.zeros((*cells.shape, 4))
            veil[..., :3], veil[..., 3] = (0.84, 0.37, 0.0), 0.75 * cells
            panel.imshow(veil)
    for step, (panel, grid) in enumerate(zip(axes[0][1:], grids, strict=True), 1):
        panel.set_title(f"step {step}: {int(grid.sum())} sampled")
    return made


def lines(panels, width, height):
    """Line plots: a list of dicts with "series" {label: (x, y, plot options)} and axes' options."""
    made, axes = figure(width, height, columns=len(panels))
    for panel, content in zip(axes[0], panels, strict=True):
        for label, (x, y, options) in content["series"].items():
            panel.plot(x, y, label=label, **options)
        panel.set(**content["axes"])
        panel.legend(frameon=False, fontsize=9, **content.get("legend", {}))
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
    return made


def heat_map(made, panel, values, title, label):
    """One grid of numbers >= 0 as colours, exact zeros left white."""
    shown = panel.imshow(np.ma.masked_equal(values, 0), cmap="viridis")
    panel.set(title=title, xticks=[], yticks=[])
    made.colorbar(shown, ax=panel, label=label, shrink=0.9)


def diagram(boxes, arrows, width, height):
    """Boxes {name: (x, y, width, height, text, colour)} and arrows between points or names.

    An arrow is (from, to, text, colour, style), an end a box's name with a side (":left") or (x, y).
    """
    made, axes = figure(width, height)
    panel = axes[0][0]
    panel.set(xlim=(0, width), ylim=(0, height))
    panel.set_axis_off()
    for x, y, w, h, text, colour in boxes.values():
        shape = FancyBboxPatch(
            (x, y), w, h, "round,pad=0,rounding_size=0.08", facecolor=colour, edgecolor="#444444"
        )
        panel.add_patch(shape)
        panel.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=10)

    def place(end):
        if not isinstance(end, str):
            return end
        name, side = end.split(":")
        x, y, w, h = boxes[name][:4]
        return {
            "left": (x, y + h / 2),
            "right": (x + w, y + h / 2),
            "top": (x + w / 2, y + h),
            "bottom": (x + w / 2, y),
        }[side]

    for start, stop, text, colour, style in arrows:
        start, stop = place(start), place(stop)
        look = {"arrowstyle": "-|>", "color": colour, "linestyle": style, "linewidth": 1.6}
        panel.annotate("", xy=stop, xytext=start, arrowprops=look)
        if text:
            middle = ((start[0] + stop[0]) / 2, (start[1] + stop[1]) / 2)
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            panel.text(
                *middle, text, ha="center", va="center", fontsize=9.5, color=colour, bbox=box
            )
    return made

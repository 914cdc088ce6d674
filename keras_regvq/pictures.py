"""Pictures of what a tokenizer does: grids of images and plots, as PIL images."""

import numpy as np
from PIL import Image

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import check_images


def image_grid(rows, scale=1, gap=2):
    """Lay out equally large images, one list of images a row.

    Args:
        rows: list of arrays (n, H, W, 3), uint8 or float in [0, 1]; grey, (n, H, W, 1), is shown as
            such, and of four channels the first three.
        scale: integer enlargement, by nearest neighbour.
        gap: white pixels between images.

    Returns:
        PIL.Image.
    """
    rows = [check_images("rows", row, channels=None) for row in rows]
    if len({row.shape[1:] for row in rows}) != 1:
        refuse("rows", f"shapes {[row.shape for row in rows]}", "images of one size")
    height, width = (side * scale for side in rows[0].shape[1:3])
    columns = max(len(row) for row in rows)
    size = (columns * (width + gap) - gap, len(rows) * (height + gap) - gap)
    grid = Image.new("RGB", size, "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            if image.dtype != np.uint8:
                image = np.round(np.clip(image, 0, 1) * 255).astype("uint8")
            image = image[..., 0] if image.shape[-1] == 1 else image[..., :3]
            tile = Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST)
            grid.paste(tile, (x * (width + gap), y * (height + gap)))
    return grid


def codebook_picture(tokenizer, columns=32):
    """Show what each code stands for: it fills a 3 x 3 token grid, and the middle is shown.

    Of several tokens a position it is the first stage's.

    Args:
        tokenizer: ImageTokenizer.
        columns: codes a row.

    Returns:
        PIL.Image, one patch of f x f pixels a code, in the codebook's order.
    """
    patches, factor = code_patches(tokenizer), tokenizer.downsampling_factor
    rows = [patches[start : start + columns] for start in range(0, len(patches), columns)]
    return image_grid(rows, scale=max(1, 16 // factor), gap=1)


def code_counts(tokenizer, tokens):
    """How often each code occurs in tokens (B, h, w) or (B, h, w, q).

    Returns:
        NumPy int (N,); of q codebooks (q N,), one after the other.
    """
    books = tokenizer.quantizer.num_codebooks
    if books > 1:
        tokens = tokens + tokenizer.codebook_size * np.arange(books)
    return np.bincount(tokens.ravel(), minlength=books * tokenizer.codebook_size)


def code_patches(tokenizer):
    """Each code in the middle of a 3 x 3 grid of its own kind: float32 (N, f, f, channels)."""
    codes = np.arange(tokenizer.codebook_size, dtype="int32")
    factor = tokenizer.downsampling_factor
    tokens = np.broadcast_to(codes[:, None, None], (len(codes), 3, 3))
    several = getattr(tokenizer, "tokens_per_position", 1) > 1
    images = tokenizer.decode(tokens[..., None] if several else tokens)
    return images[:, factor : 2 * factor, factor : 2 * factor]


def label_palette(num_classes):
    """Colours that tell neighbouring labels apart, uint8 (num_classes, 3): `palette[labels]`."""
    # Hues a golden ratio apart never come close; value and saturation vary for the many classes.
    index = np.arange(num_classes)
    hue = index * 0.618034 % 1.0
    value = 1.0 - 0.2 * (index // 7 % 3)
    saturation = 0.75 - 0.2 * (index // 21 % 3)
    channels = np.abs((hue[:, None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1
    colours = value[:, None] * (1 - saturation[:, None] * (1 - np.clip(channels, 0, 1)))
    return np.round(colours * 255).astype("uint8")


def usage_histogram(counts, title=""):
    """Plot how often each code is used, sorted from the most to the least used.

    Args:
        counts: (N,) uses of each code.

    Returns:
        PIL.Image.
    """
    counts = np.asarray(counts)
    figure, axes = _figure(6.4, 3.2)
    axes.fill_between(np.arange(len(counts)), np.sort(counts)[::-1], step="mid")
    axes.axhline(counts.mean(), color="black", linewidth=0.8, linestyle=":", label="uniform")
    axes.set(xlabel="code, by rank", ylabel="uses", xlim=(0, max(len(counts) - 1, 1)), title=title)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return _to_image(figure)


def curves(history, groups):
    """Plot training histories by epoch, one panel a group.

    Args:
        history: dict name -> list of values, as `fit(...).history`; "val_" names are dashed.
        groups: dict of panel title -> list of names.

    Returns:
        PIL.Image.
    """
    figure, panels = _figure(4.2 * len(groups), 3.2, len(groups))
    for axes, (title, names) in zip(np.atleast_1d(panels), groups.items(), strict=True):
        for index, name in enumerate(name for name in names if name in history):
            epochs = np.arange(1, len(history[name]) + 1)
            # A line through one point is none.
            style = {"color": f"C{index}", "marker": "o" if len(epochs) == 1 else None}
            axes.plot(epochs, history[name], label=name, **style)
            if f"val_{name}" in history:
                axes.plot(epochs, history[f"val_{name}"], linestyle="--", **style)
        axes.set(title=title, xlabel="epoch (dashed: validation)")
        axes.legend(frameon=False, fontsize=8)
    return _to_image(figure)


def _figure(width, height, columns=1):
    # Not pyplot: it keeps global state, and picks a window system where there is one.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns)


def _to_image(figure):
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")

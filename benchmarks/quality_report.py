"""What `benchmarks.time_to_quality` writes: WebP's line, a table, a plot and pictures."""

import io
import math

import numpy as np

from benchmarks.quality_curve import is_ours
from keras_regvq.demo.images import webp_at
from keras_regvq.files.replacing import replacing, write_text
from keras_regvq.pictures import image_grid
from recipes.shared.markdown import markdown_table

PANELS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "codebook_usage": "codes in use"}


def webp_line(images, codes, measure):
    """WebP at as many bytes as the tokens take, one a patch of 4 x 4 pixels.

    Args:
        images: uint8 (n, H, W, 3).
        codes: the size of the codebook.
        measure: function of images, reconstructions in [0, 1], None and 0, which gives a dict.

    Returns:
        dict of what `measure` gives, of "bytes" allowed, of "mean_bytes" of the files, and of
        "too_large": how many files are larger even at the lowest quality. And the images.
    """
    most = int(math.prod(images.shape[1:3]) // 16 * math.log2(codes) / 8)
    pairs = [webp_at(image, most) for image in images]
    decoded, sizes = np.stack([image for image, _ in pairs]), [size for _, size in pairs]
    numbers = {
        "bytes": most,
        "mean_bytes": float(np.mean(sizes)),
        "too_large": sum(size > most for size in sizes),
    }
    return {**numbers, **measure(images, decoded.astype("float32") / 255, None, 0)}, decoded


def best_peer(curves):
    """The highest last PSNR of the peers with a codebook, or None."""
    last = [
        curve["points"][-1]["psnr"]
        for name, curve in curves.items()
        if not is_ours(name) and "codebook_usage" in curve["points"][-1]
    ]
    return max(last, default=None)


def results_table(curves, webp):
    """Markdown: a row for each method, with its last point, and WebP's."""
    target = best_peer(curves)
    reached = "CPU s to the best peer's PSNR"
    heads = [
        "method",
        "parameters",
        "first step (s)",
        "CPU s",
        "PSNR (dB)",
        "SSIM",
        "usage",
        reached,
    ]
    rows = []
    for name, curve in curves.items():
        last = curve["points"][-1]
        times = [p["seconds"] for p in curve["points"] if target is None or p["psnr"] >= target]
        usage = last.get("codebook_usage")
        rows.append(
            [
                name,
                f"{curve['parameters']:,}",
                f"{curve['first_step']:.1f}",
                f"{last['seconds']:.0f}",
                f"{last['psnr']:.2f}",
                f"{last['ssim']:.3f}",
                "" if usage is None else f"{usage:.0%}",
                f"{times[0]:.0f}" if times and target is not None else "",
            ]
        )
    rows.append(["WebP", "", "", "", f"{webp['psnr']:.2f}", f"{webp['ssim']:.3f}", "", ""])
    return markdown_table(heads, rows)


def remarks(settings, webp):
    """What has to be known about the table, in Markdown."""
    text = (
        f"{settings['steps']} steps of {settings['batch_size']} images of {settings['data']}, "
        f"measured on {settings['test_images']} held-out ones at most. Seconds are the process's "
        "own on one thread, from building the network on, with compiling; imports and evaluations "
        "are left out. The first step's are with building and compiling.\n\nThe method `none` has "
        "no quantizer: what the network alone gives. WebP: the highest quality whose file has at "
        f"most {webp['bytes']} bytes, as many as the tokens; {webp['mean_bytes']:.0f} on average."
    )
    if webp["too_large"]:
        text += (
            f" {webp['too_large']} of the images take more even at quality 0, "
            "which is taken then: WebP's line is too high there."
        )
    return text + "\n"


def plot(curves, webp):
    """The quality over CPU seconds, a panel for each number, as a PNG file's bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for number, (label, curve) in enumerate(curves.items()):
            points = [point for point in curve["points"] if name in point]
            style = "-" if is_ours(label) else "--"
            seconds, values = ([p[key] for p in points] for key in ("seconds", name))
            axes.plot(seconds, values, style, marker=".x"[number // 10], label=label)
        if name in webp:
            axes.axhline(webp[name], color="gray", linestyle=":", label="WebP")
        axes.set(xlabel="CPU seconds", title=title)
    axes = figure.axes[0]
    axes.legend(frameon=False, fontsize=8)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def write_report(output, results, rows):
    """Write results.md, curves.png and pictures.png.

    Args:
        output: folder.
        results: dict of settings, webp and curves.
        rows: dict of images by the name of what made them; shown one below the other, in order.
    """
    curves, webp = results["curves"], results["webp"]
    shown = "; ".join(rows)
    write_text(
        output / "results.md",
        results_table(curves, webp)
        + "\n"
        + remarks(results["settings"], webp)
        + f"\nRows of pictures.png, from the top: {shown}.\n",
    )
    with replacing(output / "pictures.png") as part:
        image_grid(list(rows.values()), scale=2).save(part)
    with replacing(output / "curves.png") as part:
        part.write_bytes(plot(curves, webp))

"""The guides' pictures: arrays in, matplotlib figures out. Nothing is computed here."""

import os
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

# Okabe and Ito's colours, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8C8C8C"


def figure(width, height, rows=1, columns=1, **options):
    """A figure, not of pyplot (which picks a window system where there is one), and its axes."""
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made, made.subplots(rows, columns, squeeze=False, **options)


def save(made, script, number, name):
    """Write a figure as SCRIPT_NUMBER_NAME.png to $GUIDE_PICTURES, or to pictures/ beside it."""
    script = Path(script)
    folder = Path(os.environ.get("GUIDE_PICTURES", script.parent / "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    made.savefig(folder / f"{script.stem}_{number}_{name}.png", dpi=100)


def tokenized(image, codebook, tokens, decoded):
    """An image, the codebook (N, p, p, 3), the tokens (h, w), and the image they stand for."""
    made, axes = figure(10, 2.9, columns=4)
    image_axes, book_axes, grid_axes, decoded_axes = axes[0]
    image_axes.imshow(image)
    book_axes.imshow(_tiles(codebook, 16))
    grid_axes.imshow(0.45 * codebook.mean((1, 2))[tokens] + 0.55)
    for (y, x), token in np.ndenumerate(tokens):
        grid_axes.text(x, y, str(token), ha="center", va="center", fontsize=6)
    decoded_axes.imshow(decoded)
    height, width = tokens.shape
    titles = ("image", f"codebook: {len(codebook)} codes", f"{height} x {width} tokens", "decoded")
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title)
        panel.set_axis_off()
    return made


def _tiles(patches, columns):
    """(n, p, p, 3) patches as one picture, with a white line between them."""
    side = patches.shape[1] + 1
    canvas = np.ones((-(-len(patches) // columns) * side - 1, columns * side - 1, 3))
    for index, patch in enumerate(patches):
        y, x = index // columns * side, index % columns * side
        canvas[y : y + side - 1, x : x + side - 1] = patch
    return canvas


def codes_and_points(points, panels):
    """Scatter points with each panel's codes: {title: (codes (N, 2), used bool (N,), limit)}."""
    made, axes = figure(3.35 * len(panels), 3.9, columns=len(panels))
    for panel, (title, (codes, used, limit)) in zip(axes[0], panels.items(), strict=True):
        panel.scatter(*points.reshape(-1, 2).T, s=3, color="#C8C8C8", label="points")
        look = {"s": 42, "edgecolor": "white", "linewidth": 0.5}
        panel.scatter(*codes[~used].T, marker="X", color=RED, label="dead codes", zorder=3, **look)
        panel.scatter(*codes[used].T, color=BLUE, label="used codes", zorder=4, **look)
        tick = float(f"{limit / 1.35:.1g}")
        panel.set(title=title, xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        panel.set(xticks=(-tick, 0, tick), yticks=(-tick, 0, tick))
    handles, labels = axes[0][-1].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return made


def distributions(predicted, drawn, tempered):
    """softmax(l) beside the share of draws (N,), and {temperature: distribution (N,)}."""
    made, axes = figure(9.5, 3.2, columns=2)
    pair = {"softmax(l)": predicted, "share of draws": drawn}
    _bars(axes[0][0], "drawing follows softmax(l)", pair, (BLUE, ORANGE))
    axes[0][0].set_ylabel("probability")
    labelled = {f"temperature {t}": p for t, p in tempered.items()}
    _bars(axes[0][1], "softmax((l + g) / temperature), one g", labelled, (GREEN, GREY, RED))
    return made


def branches(rows):
    """What each branch does forward and backward: {title: (forward, softmax, push)}, (N,) each."""
    made, axes = figure(9.5, 5.0, rows=len(rows), columns=3)
    titles = ("one code forward", "what backward sees", "push on the logits, -dL/dl")
    for panels, (name, values) in zip(axes, rows.items(), strict=True):
        for panel, title, value, colour in zip(
            panels, titles, values, (BLUE, ORANGE, GREEN), strict=True
        ):
            _bars(panel, f"{name}: {title}", {title: value}, (colour,))
    return made


def prior(distributions, slope):
    """Code usages {title: (N,)}, and the slope of the KL at the last of them."""
    made, axes = figure(11, 3.1, columns=len(distributions) + 1)
    for panel, (title, distribution) in zip(axes[0], distributions.items(), strict=False):
        _bars(panel, title, {"P": distribution}, (BLUE,))
        panel.set_ylim(0, 0.3)
    _bars(axes[0][-1], "two dead codes:\npush on P, -dKL/dP", {"": -slope}, (RED,))
    return made


def _bars(panel, title, series, colours):
    for index, ((label, values), colour) in enumerate(zip(series.items(), colours, strict=True)):
        offset = (index - (len(series) - 1) / 2) * 0.8 / len(series)
        places = np.arange(len(values)) + offset
        panel.bar(places, values, 0.8 / len(series), color=colour, label=label)
    panel.axhline(0, color="black", linewidth=0.8)
    panel.set_title(title, fontsize=11)
    panel.set(xlabel="code", xticks=range(len(values)))
    if len(series) > 1:
        panel.legend(frameon=False, fontsize=9)
    panel.spines[["top", "right"]].set_visible(False)


def masks(image, grids):
    """An image alone, then with the True cells of each grid (h, w) covered."""
    made, axes = figure(10, 2.9, columns=1 + len(grids))
    axes[0][0].set_title("image")
    for step, panel in enumerate(axes[0]):
        panel.imshow(image)
        panel.set_axis_off()
        if step:
            grid = grids[step - 1]
            cells = np.kron(grid, np.ones((len(image) // len(grid),) * 2))[..., None]
            veil = np.array([0.84, 0.37, 0.0])
            panel.imshow(np.concatenate([veil * np.ones_like(cells), 0.75 * cells], axis=-1))
            panel.set_title(f"step {step}: {int(grid.sum())} sampled")
    return made


def scopes(sizes, curves, title):
    """KL over the batch size: {name: (measured, floor)}, floors dotted."""
    made, axes = figure(6.5, 3.2)
    for (name, (measured, floor)), colour in zip(curves.items(), (ORANGE, BLUE), strict=True):
        axes[0][0].plot(sizes, measured, color=colour, linewidth=2, label=name)
        axes[0][0].plot(sizes, floor, ":", color=colour, linewidth=2, label=f"{name}, floor")
    axes[0][0].set(xlabel="images in the batch", ylabel="KL (nats)", ylim=(-0.05, 2), title=title)
    return _finish_lines(made)


def revival(steps, curves, size):
    """Codes in use over the training steps, {name: counts}."""
    made, axes = figure(8.5, 3.6)
    looks = ((GREY, "--"), (RED, "-"), (ORANGE, "-"), (BLUE, "-"), (GREEN, "-."))
    for (name, counts), (colour, style) in zip(curves.items(), looks, strict=True):
        axes[0][0].plot(steps, counts, style, color=colour, linewidth=2, label=name)
    axes[0][0].set(xlabel="training step", ylabel=f"codes used, of {size}", ylim=(0, size))
    return _finish_lines(made, loc="center left", bbox_to_anchor=(1.0, 0.5))


def pulls(shares, curves, perturbation):
    """Pull over the weight's share, {similarity: values}, and a map of weights, zeros white."""
    made, axes = figure(9.5, 3.5, columns=2, width_ratios=(1.5, 1))
    for (similarity, values), colour in zip(curves.items(), (BLUE, ORANGE, GREEN), strict=True):
        label = f"similarity s = {similarity}"
        axes[0][0].semilogx(shares, values, color=colour, linewidth=2, label=label)
    axes[0][0].set(xlabel="w', share of the perturbation", ylabel="pull, -L dL/ds", ylim=(0, None))
    axes[0][0].set_title("the more perturbed, the weaker the pull")
    _finish_lines(made)
    shown = axes[0][1].imshow(np.ma.masked_equal(perturbation, 0), cmap="viridis")
    axes[0][1].set(title="weights of one step (white: 0)", xticks=[], yticks=[])
    made.colorbar(shown, ax=axes[0][1], label="w", shrink=0.9)
    return made


def _finish_lines(made, **legend):
    panel = made.axes[0]
    panel.legend(frameon=False, fontsize=9, **legend)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.25)
    return made


def one_step():
    """The training step of `TokenizerTrainer` as boxes and arrows."""
    made, axes = figure(10, 4.0)
    panel = axes[0][0]
    panel.set(xlim=(0, 10), ylim=(0, 4))
    panel.set_axis_off()
    network, loss, cut = "#D6E8F5", "#FBE8C6", "#F9D9CC"
    for x, y, width, height, text, colour in (
        (0.05, 1.7, 0.9, 0.6, "image x", "white"),
        (1.35, 1.7, 1.0, 0.6, "encoder", network),
        (2.75, 1.7, 1.1, 0.6, "quantizer", network),
        (4.25, 1.7, 1.0, 0.6, "decoder", network),
        (6.05, 1.7, 1.1, 0.6, "picture r", cut),
        (2.65, 3.0, 1.3, 0.6, "prior loss", loss),
        (8.0, 3.0, 1.95, 0.7, "L_rec: L1,\nperceptual, PCL", loss),
        (8.0, 1.65, 1.95, 0.7, "L_gan:\n-mean D(r)", loss),
        (8.0, 0.3, 1.95, 0.7, "hinge loss of D\non x and sg(r)", loss),
        (3.75, 0.3, 3.4, 0.7, "surrogate:\nsum( sg(g_rec + λ g_gan) · r )", loss),
    ):
        outline = {"facecolor": colour, "edgecolor": "#444444"}
        style = "round,pad=0,rounding_size=0.08"
        panel.add_patch(FancyBboxPatch((x, y), width, height, style, **outline))
        panel.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=10.5)
    for start, stop, text, colour, style in (
        ((0.95, 2.0), (1.35, 2.0), "", "black", "-"),
        ((2.35, 2.0), (2.75, 2.0), "", "black", "-"),
        ((3.85, 2.0), (4.25, 2.0), "", "black", "-"),
        ((5.25, 2.0), (6.05, 2.0), "", "black", "-"),
        ((3.3, 2.3), (3.3, 3.0), "", "black", "-"),
        ((8.0, 3.35), (6.9, 2.3), "g_rec", RED, "--"),
        ((8.0, 2.0), (7.15, 2.0), "g_gan", RED, "--"),
        ((6.6, 1.7), (6.6, 1.0), "g_rec, g_gan, λ", RED, "--"),
        ((7.15, 1.75), (8.0, 0.85), "sg(r)", "black", "-"),
        ((4.75, 1.0), (4.75, 1.7), "", BLUE, "--"),
        ((4.25, 1.45), (1.4, 1.45), "one backward pass", BLUE, "--"),
    ):
        look = {"arrowstyle": "-|>", "color": colour, "linestyle": style, "linewidth": 1.6}
        panel.annotate("", xy=stop, xytext=start, arrowprops={**look, "shrinkA": 0, "shrinkB": 1})
        middle = ((start[0] + stop[0]) / 2, (start[1] + stop[1]) / 2)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        if text:
            panel.text(*middle, text, ha="center", va="center", color=colour, fontsize=10, bbox=box)
    panel.plot((5.62, 5.62), (1.35, 2.65), ":", color=RED, linewidth=2)
    panel.text(5.62, 2.75, "cut", ha="center", color=RED, fontsize=11)
    return made


def rate_and_fidelity(points):
    """Bits a position against PSNR, a mark a run: {data: {variant: (bits, PSNRs)}}."""
    made, axes = figure(10, 4.6, columns=len(points))
    for panel, (data, variants) in zip(axes[0], points.items(), strict=True):
        for index, (variant, (bits, psnrs)) in enumerate(variants.items()):
            shape, colour = "osv^DPX*<>hpd"[index], f"C{index % 10}"
            panel.scatter(bits, psnrs, s=45, marker=shape, color=colour, label=variant)
        panel.set(title=data, xlabel="bits a position, autoregressive prior")
        panel.grid(alpha=0.3)
    axes[0, 0].set_ylabel("PSNR (dB)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    made.legend(handles, labels, fontsize=8, ncols=3, loc="outside lower center")
    return made


def codebook_sizes(sizes, used, fidelity):
    """Codes in use, and PSNR, against the codebook's size: {data and quantizer: values} each."""
    made, axes = figure(10, 3.6, columns=2)
    for name in used:
        look = {"marker": "o", "linestyle": "-" if "Reg-VQ" in name else "--", "label": name}
        for panel, curves in zip(axes[0], (used, fidelity), strict=True):
            panel.plot(sizes, curves[name], color=BLUE if "scenes" in name else ORANGE, **look)
    for panel, label in zip(axes[0], ("codes in use", "PSNR (dB)"), strict=True):
        panel.set(xlabel="codebook size", ylabel=label, xscale="log", xticks=sizes)
        panel.set_xticks([], minor=True)
        panel.set_xticklabels(sizes)
        panel.grid(alpha=0.3)
    axes[0, 0].set_yscale("log")
    axes[0, 0].legend(fontsize=8)
    return made

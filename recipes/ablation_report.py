"""Tables and figures of the ablation's cells."""

import numpy as np
from ablation_studies import COLUMNS
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_regvq.data.decoding import open_picture
from keras_regvq.files.replacing import replacing, write_text
from shared.markdown import markdown_table, mean_and_spread

ROWS = 4  # of a cell's picture: test images, reconstructions, samples of two priors
PANELS = (
    "psnr", "codebook_usage", "reconstruction_kernel_distance",
    "autoregressive_bits_per_token", "autoregressive_generation_kernel_distance",
)  # fmt: skip


def write_report(directory, results, studies, unfinished, reference=None):
    """Write ablation.md, and for each study and data set a figure, and pictures if there are any.

    Args:
        directory: where to.
        results: the cells, dicts of settings, data, seed, numbers, facts and picture, a path.
        studies: {study: {variant: settings}}.
        unfinished: the studies that are written even where variants are missing; of the others,
            which share cells with them, the whole ones are.
        reference: a variant; of each study that has it, all differences from it too.

    Returns:
        the tables as Markdown.
    """
    sections = []
    for data, title in short_names({cell["data"] for cell in results}).items():
        for study, variants in studies.items():
            rows = {
                variant: [
                    cell for cell in results if (cell["settings"], cell["data"]) == (settings, data)
                ]
                for variant, settings in variants.items()
            }
            pictures = {
                variant: next((c["picture"] for c in cells if c["picture"].exists()), None)
                for variant, cells in rows.items()
            }
            seeds = {v: {c["seed"]: c["numbers"] for c in cells} for v, cells in rows.items()}
            rows = {v: list(numbers.values()) for v, numbers in seeds.items() if numbers}
            if rows and (study in unfinished or len(rows) == len(variants)):
                sections.append(f"## {study}, {title}\n\n{table(rows)}")
                if reference in rows:
                    sections.append(differences(seeds, reference))
                name = "".join(c if c.isalnum() else "_" for c in f"{study}_{title}")
                plot(rows, directory / f"{name}.png")
                show({v: p for v, p in pictures.items() if p}, directory / f"{name}_pictures.png")
    numbers = [cell["numbers"] for cell in results]
    by_cpu = all("cpu_seconds" in each for each in numbers)
    hours = sum(each["cpu_seconds" if by_cpu else "seconds"] for each in numbers) / 3600
    features = ", ".join(sorted({cell["facts"]["features"] for cell in results}))
    sections.append(
        f"{len(results)} cells, {hours:.1f} {'CPU ' * by_cpu}hours. Features of the losses and "
        f"of the distances: {features}; such distances are not FID. After ±: standard deviation "
        "over seeds.\n"
    )
    text = "\n".join(sections)
    write_text(directory / "ablation.md", text)
    return text


def short_names(names):
    """{"emoji:my/folder": "emoji"} of data sets, where that is not another's short name, too."""
    kinds = {name: name.split(":")[0] for name in sorted(names)}
    taken = list(kinds.values())
    return {name: kind if taken.count(kind) == 1 else name for name, kind in kinds.items()}


def table(rows):
    """Markdown: a row a variant, mean ± standard deviation over its seeds.

    The last column is of the cells that have the number: the first versions did not count it.
    """
    columns = {**COLUMNS, "tokenizer_cpu_seconds": ("CPU seconds, tokenizer", "{:.0f}")}
    lines = []
    for variant, cells in rows.items():
        found = {name: [c[name] for c in cells if name in c] for name in columns}
        texts = [
            mean_and_spread(found[name], form, 1) if found[name] else ""
            for name, (_, form) in columns.items()
        ]
        lines.append([variant, str(len(cells)), *texts])
    return markdown_table(["variant", "seeds", *(title for title, _ in columns.values())], lines)


def differences(rows, reference):
    """Markdown: each variant's numbers less the reference's, paired by their seeds.

    Args:
        rows: {variant: {seed: numbers}}.
        reference: one of the variants.
    """
    names = [name for name in COLUMNS if not name.startswith("codebook")]
    lines = []
    for variant, cells in rows.items():
        paired = sorted(cells.keys() & rows[reference].keys())
        if variant == reference or not paired:
            continue
        line = [variant, str(len(paired))]
        for name in names:
            form = COLUMNS[name][1].replace(":", ":+")
            found = np.array([cells[seed][name] - rows[reference][seed][name] for seed in paired])
            text = mean_and_spread(found, form, 1).replace("± +", "± ")
            one_sign = len(found) > 1 and len(set(np.sign(found))) == 1
            told = one_sign and abs(found.mean()) > found.std(ddof=1)
            line.append(f"**{text}**" if told else text)
        lines.append(line)
    heads = ["variant", "seeds", *(COLUMNS[name][0] for name in names)]
    return (
        f"Less the numbers of {reference} of the same seed. Bold: of one sign in every seed, and "
        f"larger than its standard deviation.\n\n{markdown_table(heads, lines)}"
    )


def plot(rows, path):
    """A panel a number: mean and standard deviation of each variant."""
    figure = Figure(figsize=(4 * len(PANELS), 1.4 + 0.35 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    heights = np.arange(len(rows))[::-1]
    for index, (axes, name) in enumerate(zip(figure.subplots(1, len(PANELS)), PANELS, strict=True)):
        values = [[numbers[name] for numbers in cells] for cells in rows.values()]
        spread = [np.std(v, ddof=1) if len(v) > 1 else 0.0 for v in values]
        axes.errorbar(list(map(np.mean, values)), heights, xerr=spread, fmt="o", capsize=3)
        meaning = "less is better" if name.endswith("distance") else "more is better"
        if name.endswith("bits_per_token"):
            meaning = "what a position costs"
        label = f"{COLUMNS[name][0]}\n{meaning}"
        axes.set(xlabel=label, yticks=heights, ylim=(-0.5, len(rows) - 0.5))
        axes.locator_params(axis="x", nbins=5)
        if name == "codebook_usage":
            axes.set_xlim(0, 1.05)
        axes.set_yticklabels(rows if index == 0 else [])
        axes.grid(axis="x", alpha=0.3)
    with replacing(path) as part:
        figure.savefig(part, dpi=110)


def read_picture(path):
    """A cell's picture, or None, and one line, for a file that is damaged."""
    try:
        with open_picture(path) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError) as error:
        print(f"Left out of the pictures: {error}")
        return None


def show(pictures, path):
    """Stack {variant: picture of a cell}: test images once, then each variant's other rows."""
    tiles = {variant: read_picture(picture) for variant, picture in pictures.items()}
    tiles = {variant: tile for variant, tile in tiles.items() if tile is not None}
    if not tiles:
        return
    width, height = next(iter(tiles.values())).size
    first = (height + 2) // ROWS  # the test images and the gap below them
    shown = 1 + (ROWS - 1) * len(tiles)
    figure = Figure(figsize=(2 * width / 100, 2.4 * first * shown / 100))
    FigureCanvasAgg(figure)
    parts = {"test images": next(iter(tiles.values())).crop((0, 0, width, first - 2))}
    for variant, tile in tiles.items():
        title = f"{variant}: reconstructions; samples, autoregressive prior; ... diffusion prior"
        parts[title] = tile.crop((0, first, width, height))
    heights = [part.height for part in parts.values()]
    panels = figure.subplots(len(parts), 1, height_ratios=heights)
    for axes, (title, part) in zip(np.atleast_1d(panels), parts.items(), strict=True):
        axes.imshow(part, interpolation="nearest", aspect="equal")
        axes.set_title(title, loc="left", fontsize=9)
        axes.set_axis_off()
    figure.tight_layout()
    with replacing(path) as part:
        figure.savefig(part, dpi=100)

"""The page and the table that set several presets side by side."""

import html
import urllib.parse
from pathlib import Path

from keras_regvq.files.replacing import write_text
from shared.evaluation import LABELS, PAGE, data_uri
from shared.markdown import markdown_table

_THUMBNAIL = (320, 96)  # pixels at most


def table(results):
    """Markdown, a row a preset.

    Args:
        results: dict of dicts of numbers.
    """
    names = _names(results.values())
    rows = [[preset, *_cells(numbers, names)] for preset, numbers in results.items()]
    return markdown_table(["preset", *(label(name)[0] for name in names)], rows)


def write_index(directory, title, entries):
    """Write compare.md and index.html, which shows each preset's first picture and links its page.

    Args:
        directory: where to.
        title: heading.
        entries: list of (preset, folder with its page, what was measured).
    """
    directory = Path(directory)
    numbers = {preset: measured.numbers for preset, _, measured in entries}
    write_text(directory / "compare.md", table(numbers))
    names = _names(numbers.values())
    heads = ["Preset", "", *(label(name)[0] for name in names)]
    rows = ["<tr>" + "".join(f"<th>{html.escape(head)}</th>" for head in heads) + "</tr>"]
    notes = []
    for preset, folder, measured in entries:
        link = f'href="{urllib.parse.quote(folder)}/index.html"'
        picture = next(iter(measured.pictures.values())).copy()
        picture.thumbnail(_THUMBNAIL)
        image = f'<img alt="{html.escape(preset)}" src="{data_uri(picture)}">'
        cells = [f"<a {link}>{html.escape(preset)}</a>", f"<a {link}>{image}</a>"]
        cells += map(html.escape, _cells(measured.numbers, names))
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        note = " ".join([f"{preset}: {measured.images}.", *measured.warnings])
        notes.append(f"<p>{html.escape(note)}</p>")
    sections = "\n".join([f"<table>{''.join(rows)}</table>", *notes])
    page = PAGE.format(title=html.escape(title), numbers="", facts="", sections=sections)
    write_text(directory / "index.html", page)


def label(name):
    """A number's name for readers, and how it is written with its unit."""
    return LABELS.get(name, (name.replace("_", " ").capitalize(), "{:.4g}"))


def _names(results):
    return list(dict.fromkeys(name for numbers in results for name in numbers))


def _cells(numbers, names):
    return [label(name)[1].format(numbers[name]) if name in numbers else "-" for name in names]

"""Tables of results in Markdown."""

import numpy as np


def markdown_table(heads, rows):
    """A table of texts: its heads, and rows of as many cells."""
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join(lines) + "\n"


def mean_and_spread(values, form, ddof):
    """The mean of numbers and, of more than one, after a ± their standard deviation.

    Args:
        values: list of floats.
        form: how one is written, such as "{:.2f}".
        ddof: what is subtracted from their count in the deviation's divisor.
    """
    spread = f" ± {form.format(np.std(values, ddof=ddof))}" if len(values) > 1 else ""
    return form.format(np.mean(values)) + spread

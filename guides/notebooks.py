"""Write the guides as notebooks: python guides/notebooks.py

Each is made of the guide's script, the source of its page too, and has no outputs: the page shows
them. In a notebook this module has each cell show the pictures that it has saved.
"""

import os
import sys
import tempfile
from pathlib import Path

GUIDES = Path(__file__).resolve().parent
NAMES = ("regvq_part_by_part", "from_maps_to_pictures", "from_words_to_pictures")

ABOUT = """*A notebook of `guides/{name}.py`, made by `guides/notebooks.py`: edit that script.
It runs in a clone of the repository as it is. On Colab, set `REPOSITORY` to the repository's URL;
`KERAS_BACKEND` may be "jax", "tensorflow" or "torch".*"""

START = """import os
import sys
from pathlib import Path

REPOSITORY = ""
os.environ.setdefault("KERAS_BACKEND", "jax")
if REPOSITORY:
    !git clone --quiet --depth 1 {{REPOSITORY}} keras_regvq
    %cd keras_regvq
    %pip install --quiet -e .

above = [f for f in (Path.cwd(), *Path.cwd().parents) if (f / "guides/notebooks.py").is_file()]
if not above:
    raise SystemExit("This is no clone of the repository: set REPOSITORY above to its URL.")
root = above[0]
sys.path[:0] = [str(root), str(root / "guides")]
import notebooks

__file__ = notebooks.show_pictures_of("{name}")"""


def notebook(name):
    """The guide of that name as a notebook, of nbformat's kind."""
    from build import cells
    from nbformat import v4

    made = [
        v4.new_markdown_cell(ABOUT.format(name=name)),
        v4.new_code_cell(START.format(name=name)),
    ]
    for kind, text in cells(GUIDES / f"{name}.py"):
        made.append(v4.new_markdown_cell(text) if kind == "markdown" else v4.new_code_cell(text))
    for number, cell in enumerate(made):
        cell["id"] = f"{name}-{number}"  # and not a random one, so that a new file differs by text
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return v4.new_notebook(cells=made, metadata=metadata)


def text_of(name):
    """The file's text."""
    import nbformat

    made = notebook(name)
    nbformat.validate(made)
    return nbformat.writes(made) + "\n"


def show_pictures_of(name):
    """In a notebook: have each cell show the pictures of the guide that it saves.

    Returns:
        The path of the guide's script, by which its pictures are named.
    """
    from IPython import get_ipython
    from IPython.display import Image, display

    folder = Path(tempfile.mkdtemp())
    os.environ["GUIDE_PICTURES"] = str(folder)
    shown = set()

    def show_new_pictures(_):
        for picture in sorted(set(folder.glob("*.png")) - shown):
            shown.add(picture)
            display(Image(str(picture)))

    get_ipython().events.register("post_run_cell", show_new_pictures)
    return str(GUIDES / f"{name}.py")


def main():
    sys.path.insert(0, str(GUIDES.parent))  # the package, in a clone
    from keras_regvq.files.replacing import write_text

    (GUIDES / "notebooks").mkdir(exist_ok=True)
    for name in NAMES:
        write_text(GUIDES / "notebooks" / f"{name}.ipynb", text_of(name))


if __name__ == "__main__":
    main()

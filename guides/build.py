"""Run a guide and write it as a page: python guides/build.py guides/NAME.py

A guide is a script in percent format: a `# %% [markdown]` cell holds text in comments, a `# %%`
cell holds code. The page has the text, the code, and below each code cell what it printed and the
pictures it saved under PICTURES / NAME_*.png.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path


def cells(script):
    """Split a script into [("markdown" | "code", text)], the text without comment signs."""
    found = []
    for part in re.split(r"^# %%", Path(script).read_text(), flags=re.M)[1:]:
        header, _, body = part.partition("\n")
        kind = "markdown" if header.strip() == "[markdown]" else "code"
        if kind == "markdown":
            body = re.sub(r"^# ?", "", body, flags=re.M)
        found.append((kind, body.strip()))
    return found


def run(script, folder):
    """Run a guide's code cells in one namespace, with its pictures going to `folder`.

    Returns:
        the namespace, and one (printed text, [picture paths]) a cell; markdown cells have none.
    """
    script, folder = Path(script), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["GUIDE_PICTURES"] = str(folder)
    pattern, seen = f"{script.stem}_*.png", set()
    for stale in folder.glob(pattern):
        stale.unlink()
    namespace = {"__name__": "__main__", "__file__": str(script)}
    outputs = []
    for index, (kind, text) in enumerate(cells(script), 1):
        printed = io.StringIO()
        if kind == "code":
            with contextlib.redirect_stdout(printed):
                exec(compile(text, f"{script}, cell {index}", "exec"), namespace)
        new = sorted(set(folder.glob(pattern)) - seen, key=lambda path: path.stat().st_mtime_ns)
        seen.update(new)
        outputs.append((printed.getvalue().rstrip(), new))
    return namespace, outputs


def page(script, outputs):
    """The guide as Markdown. Pictures are linked relative to the guide's folder."""
    blocks = [f"<!-- Written by guides/build.py from {Path(script).name}: edit that. -->"]
    for (kind, text), (printed, pictures) in zip(cells(script), outputs, strict=True):
        blocks.append(text if kind == "markdown" else f"```python\n{text}\n```")
        if printed:
            blocks.append(f"```text\n{printed}\n```")
        for picture in pictures:
            title = picture.stem.removeprefix(Path(script).stem).strip("_0123456789")
            blocks.append(f"![{title.replace('_', ' ')}](pictures/{picture.name})")
    return "\n\n".join(blocks) + "\n"


def build(script):
    """Run a guide, and replace its page and its pictures when all of it has run."""
    from keras_regvq.files.replacing import write_text

    script, folder = Path(script), Path(script).parent / "pictures"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=script.parent) as part:
        _, outputs = run(script, part)
        text = page(script, outputs)
        pattern = f"{script.stem}_*.png"
        made = {picture.name for picture in Path(part).glob(pattern)}
        for name in made:
            os.replace(Path(part) / name, folder / name)
    for picture in folder.glob(pattern):
        if picture.name not in made:
            picture.unlink()
    write_text(script.with_suffix(".md"), text)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    script = Path(sys.argv[1])
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the package, in a clone
    build(script)


if __name__ == "__main__":
    main()

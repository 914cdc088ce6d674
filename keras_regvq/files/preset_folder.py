"""A preset in its folder: replaced as one, while all else in the folder stays where it is."""

import contextlib
import os
import re
from pathlib import Path

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.model_card import CARD, is_own_card, may_replace_card
from keras_regvq.files.replacing import beside, remove, replacing_directory
from keras_regvq.files.updating import put_in_place

NEXT = ".replacing"  # a folder in the preset's own: the new preset, whole, until it is in place
# What a preset consists of: what the new one does not have goes with the old one.
_PARTS = re.compile(
    r"config\.json|metadata\.json|model\.weights\.(h5|json)|model_\d+\.weights\.h5|text_encoder"
)


@contextlib.contextmanager
def replacing_preset(directory):
    """Give an empty folder for a preset's files, which replace the preset in `directory`.

    They are written inside the directory and brought to disk. From the moment that their folder is
    named `.replacing`, `current_folder` gives the new preset, and before it the old one: whenever a
    process is killed, one of them is there whole. Then the files are put in their places. Nothing
    but the directory itself needs to be writable: it may be ".", a link or a mount point. Other
    readers than this package see the files change one after the other. A README.md that somebody
    has written stays in the place of the new model card.

    Raises:
        ValueError: if `directory` is a file.
        OSError: naming the directory, such as for a full disk; the old preset stays.
    """
    directory = Path(directory).resolve()
    if directory.exists() and not directory.is_dir():
        refuse("directory", f"{str(directory)!r}, which is a file", "a folder, or a new name")
    if not directory.exists():
        with replacing_directory(directory) as part:
            yield part
        return
    _put_in_place(directory)  # what a killed process has left to do
    with replacing_directory(directory / NEXT) as part:
        yield part
    _put_in_place(directory)


def current_folder(directory):
    """The folder with the preset's files: `directory`, or the new preset that is to replace it."""
    new = Path(directory) / NEXT
    return new if new.is_dir() else Path(directory)


def is_part(path):
    """Whether a file or folder belongs to a preset: a README.md of the user's own does not."""
    return bool(_PARTS.fullmatch(path.name)) or path.name == CARD and is_own_card(path)


def _put_in_place(directory):
    """Put the files of the new preset, if there is one, in their places, and remove its folder."""
    new = directory / NEXT
    if not new.is_dir():
        return
    for source in new.iterdir():
        if source.name != CARD or may_replace_card(directory / CARD):
            put_in_place(source, directory / source.name)
    for old in directory.iterdir():
        if is_part(old) and not (new / old.name).exists():
            remove(old)
    with beside(new) as part:  # under another name first, so that it is never there in part
        os.rename(new, part)

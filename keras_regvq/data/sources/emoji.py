"""Emoji pictures and their names, as the npm packages emoji-datasource-* carry them."""

import json
from pathlib import Path

from keras_regvq.checks.arguments import refuse
from keras_regvq.data.sources.folder_roots import Root
from keras_regvq.data.sources.folders import FolderExamples
from keras_regvq.data.sources.split_names import path_hash
from keras_regvq.files.regular_files import open_regular

_SKIN_TONES = {
    "1F3FB": "light skin tone",
    "1F3FC": "medium-light skin tone",
    "1F3FD": "medium skin tone",
    "1F3FE": "medium-dark skin tone",
    "1F3FF": "dark skin tone",
}


class EmojiExamples(FolderExamples):
    """The usable emoji of one split of an emoji-datasource package, read by number.

        DIR/emoji.json                      names, and which picture shows which emoji
        DIR/img/google/64/1f600.png ...     the pictures; any maker's, of any size

    DIR is the folder `package` of an unpacked npm package such as emoji-datasource-google. A
    caption is the emoji's name in lower case, with the skin tone's if it has one.

    Half of the pictures are variants in skin tone: the CRC-32 of the base emoji decides the split,
    so that all of its variants are on the same side. What is skipped, and the arguments, are those
    of `FolderExamples`.

    Raises:
        ValueError: for a folder that is missing, is no such package, or has no usable picture for
            the split.
    """

    kind = "emoji"

    def _find_split(self, directory, split):
        pictures = sorted(path for path in directory.glob("img/*/*") if path.is_dir())
        index = directory / "emoji.json"
        if not pictures or not index.is_file():
            expected = "an unpacked emoji-datasource package, with emoji.json and img/"
            refuse("source", f"{directory} without emoji.json and img/MAKER/SIZE/", expected)
        try:
            with open_regular(index) as file:
                entries = json.load(file)
            if not isinstance(entries, list):
                raise ValueError("not a list")
            self._emoji = dict(_pictures(entries))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            refuse("source", f"{index} ({error!r})", "the emoji.json of emoji-datasource")
        return [Root(pictures[0])], True

    def _of_split(self, files, split):
        known = [file for file in files if file.name in self._emoji]
        if split == "all":
            return known
        is_test = [path_hash(Path(self._emoji[file.name][0])) % 10 == 0 for file in known]
        return [f for f, test in zip(known, is_test, strict=True) if test == (split == "test")]

    def _read_captions(self, root, files):
        return [{name: (caption,) for name, (_, caption) in self._emoji.items()}]


def _pictures(entries):
    """Yields (file name, (base emoji's code, caption)) of every picture."""
    for entry in entries:
        try:
            yield from list(_pictures_of(entry))
        except (TypeError, KeyError, AttributeError):
            continue  # the pictures of such an entry are not known, like those of none


def _pictures_of(entry):
    base = entry["unified"]
    name = (entry.get("name") or entry["short_name"].replace("_", " ")).lower()
    yield entry["image"], (base, name)
    for tones, variant in entry.get("skin_variations", {}).items():
        named = [_SKIN_TONES[tone] for tone in tones.split("-") if tone in _SKIN_TONES]
        yield variant["image"], (base, ", ".join([name, *named]))

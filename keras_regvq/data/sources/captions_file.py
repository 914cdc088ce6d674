"""Which captions belong to which image: index files of several kinds, and texts beside images."""

import csv
import io
import json
import unicodedata
from collections import defaultdict
from pathlib import Path

from keras_regvq.files.regular_files import open_regular, shown_name

_NAMES = ("file", "file_name", "filename", "image")
_TEXTS = ("captions", "caption", "texts", "text")
_INDEX_FILES = ("captions.jsonl", "metadata.jsonl", "metadata.csv")
_LONGEST_LINE = 2**20  # bytes
_LARGEST_JSON = 2**29
WRONG = "of the captions that cannot be read"


def find_captions(folders, split_folder):
    """Reads all index files of captions in some folders.

        captions.jsonl      {"file": "a.jpg" or "a", "caption": "..."} or "captions": ["...", "..."]
        metadata.jsonl      of Hugging Face: {"file_name": "a.jpg", "text": "..."}
        metadata.csv        the same as columns
        captions*.json      of MS-COCO, there or in annotations/: "images" and "annotations"

    A file that has several lines has all their captions. What is wrong is left out.

    Args:
        folders: paths, in the order in which names are looked up.
        split_folder: name of the split's folder: if a COCO file's name has it, the others are not
            read.

    Returns:
        For each file a dict of image names and tuples of captions; and a list of what is wrong, by
        file and line.
    """
    tables, wrong = [], []
    for path in _index_files(folders, split_folder):
        table = defaultdict(tuple)
        reader = {".jsonl": _read_lines, ".csv": _read_table, ".json": _read_coco}[path.suffix]
        try:
            with open_regular(path) as file:
                for place, entry in reader(file):
                    parsed = _parse(entry)
                    if parsed is None:
                        wrong.append(f"{shown_name(path.name)} {place}")
                    else:
                        table[_composed(parsed[0])] += parsed[1]
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            wrong.append(f"{shown_name(path.name)}: {str(error)[:60]}")
        tables.append(dict(table))
    return tables, wrong


def look_up(tables, file, folders):
    """The captions of a picture, or ().

    Args:
        tables: dicts of names and captions; what is in an earlier one counts.
        file: relative path, found by itself or by its bare name, each with or without its suffix.
        folders: names of folders that may stand before it.
    """
    names = [file, file.with_suffix("")]
    names = [Path(folder) / name for folder in folders for name in names] + names
    names += [file.name, file.with_suffix("").name]
    keys = [_composed(name if isinstance(name, str) else name.as_posix()) for name in names]
    return next((table[key] for table in tables for key in keys if key in table), ())


def _composed(name):
    """A name with composed letters: some file systems and editors take them apart."""
    return unicodedata.normalize("NFC", name)


def captions_beside(path):
    """Captions in a text file, one a line: a tuple, and a list of the lines that are no UTF-8."""
    try:
        with open_regular(path) as file:
            lines = file.read(_LONGEST_LINE).splitlines()
    except OSError:
        return (), []
    texts, wrong = [], []
    for number, line in enumerate(lines, 1):
        try:
            texts.append(line.decode("utf-8-sig").strip())
        except UnicodeDecodeError:
            wrong.append(f"{shown_name(path.name)} line {number}")
    return tuple(text for text in texts if text), wrong


def _index_files(folders, split_folder):
    for folder in dict.fromkeys(folders):
        for name in _INDEX_FILES:
            if (folder / name).is_file():
                yield folder / name
        files = sorted([*folder.glob("captions*.json"), *folder.glob("annotations/captions*.json")])
        of_split = [path for path in files if split_folder and split_folder in path.name]
        yield from of_split or files


def _read_lines(file):
    """Yields ("line 3", entry or None) of JSON lines."""
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        whole = line.endswith(b"\n") or len(line) < _LONGEST_LINE
        while not (whole or line.endswith(b"\n")) and line:
            line = file.readline(_LONGEST_LINE)
        if not whole or line.strip():
            yield f"line {number}", _parse_json(line) if whole else None


def _parse_json(line):
    try:
        return json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def _read_table(file):
    """Yields ("line 3", dict or None) of a table with a line of column names."""
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    rows = csv.DictReader(text)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:
            row = None
        yield f"line {rows.line_num}", row


def _read_coco(file):
    """Yields ("annotation 3", dict or None) of a COCO file of captions."""
    data = file.read(_LARGEST_JSON + 1)
    if len(data) > _LARGEST_JSON:
        raise ValueError("too large")
    content = json.loads(data)
    names = {image["id"]: image["file_name"] for image in content["images"]}
    for number, annotation in enumerate(content["annotations"], 1):
        try:
            entry = {"file": names[annotation["image_id"]], "caption": annotation["caption"]}
        except (TypeError, KeyError):
            entry = None
        yield f"annotation {number}", entry


def _parse(entry):
    """(image name, tuple of captions) of an entry, or None if it is wrong."""
    if not isinstance(entry, dict):
        return None
    name = next((entry[key] for key in _NAMES if key in entry), None)
    texts = next((entry[key] for key in _TEXTS if key in entry), None)
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(name, str) or not isinstance(texts, list) or not texts:
        return None
    if not all(isinstance(text, str) and text.strip() for text in texts):
        return None
    try:
        "".join((name, *texts)).encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
    return name.replace("\\", "/").removeprefix("./"), tuple(texts)

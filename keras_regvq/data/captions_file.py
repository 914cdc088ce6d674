"""captions.jsonl: which captions belong to which image."""

import json

from keras_regvq.refusal import refuse

_LINE = '{"file": "name", "caption": "text"} or {"file": "name", "captions": ["text", ...]}'


def read_captions(path):
    """Reads a file of JSON lines to a dict of image file names and tuples of captions.

    A file that has several lines has all their captions.

    Raises:
        ValueError: if there is no such file, or a line is not of the form above.
    """
    if not path.is_file():
        refuse("source", f"{path.parent} without captions.jsonl", 'it for the field "captions"')
    captions = {}
    with open(path, encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                name, texts = _parse(line, f"line {number} of {path}: {line.strip()[:80]}")
                captions[name] = captions.get(name, ()) + texts
    return captions


def _parse(line, received):
    try:
        entry = json.loads(line)
        name = entry["file"]
        texts = entry["captions"] if "captions" in entry else [entry["caption"]]
        valid = isinstance(name, str) and isinstance(texts, list) and texts
        valid = valid and all(isinstance(text, str) and text.strip() for text in texts)
    except (ValueError, KeyError, TypeError):
        valid = False
    if not valid:
        refuse("source", received, _LINE)
    return name.replace("\\", "/"), tuple(texts)

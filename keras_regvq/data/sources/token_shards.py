"""Data sets that have been tokenized: shards of tokens, with what belongs to each picture."""

import io
import json
from pathlib import Path

import numpy as np

from keras_regvq.checks.arguments import refuse
from keras_regvq.data.image_files import EncodedPicture
from keras_regvq.data.label_maps import read_labels
from keras_regvq.data.order import tensorflow
from keras_regvq.data.sources.parquet_files import open_parquet
from keras_regvq.data.sources.samples import drawn_caption, in_split
from keras_regvq.data.sources.webdataset import tar_members
from keras_regvq.files.regular_files import open_regular, shown_name

INDEX = "tokens.json"
FORMATS = {"parquet": "parquet", "webdataset": "tar"}
"""Kinds of shards, and how their names end."""

# Sources that `in_split` parts by the keys which their tokens keep; others have rules of their own.
_SPLIT_BY_KEY = ("webdataset:", "parquet:")


class TokenStream:
    """The tokens of a folder that `keras_regvq.tokenizing` has written, for `stream_dataset`.

    The field "images" is given as "tokens", int32 (h, w) or (h, w, q).

    Args:
        directory: The folder.
        split: "train", "test" or "all". Of a folder of both, which an example is in is known of
            shards alone, by its key: see `samples.in_split`.

    Raises:
        ValueError: naming the folder, for one that holds no tokens, not all of them, or those of
            another split.
    """

    width = 4
    names = {"images": "tokens"}

    def __init__(self, directory, split):
        self.facts = read_index(directory)
        shown = shown_name(directory)
        if not self.facts["complete"]:
            refuse("source", f"{shown}, which is not complete", "one whose tokenizing has ended")
        self._split = split
        if split != "all" and self.facts["split"] == split:
            self._split = "all"
        elif split != "all" and self.facts["split"] != "all":
            received = f"{split!r} of {shown}, which is of split {self.facts['split']!r}"
            refuse("split", received, f"{self.facts['split']!r} or 'all'")
        elif split != "all" and not str(self.facts.get("source")).startswith(_SPLIT_BY_KEY):
            received = f"{split!r} of {shown}, which holds both and does not say which is which"
            refuse("split", received, "'all'; or tokens of 'train' and of 'test', made apart")
        self._read = {"parquet": _parquet_records, "webdataset": _tar_records}[self.facts["format"]]
        self.shards = [Path(directory).expanduser() / name for name in self.facts["shards"]]
        self.grid = tuple(self.facts["grid"])
        self.count = self.facts.get("examples") if self._split == "all" else None

    def records(self, shard):
        for record in self._read(shard):
            if in_split(record[0].decode(), self._split):
                yield record

    def decoded(self, record, fields, draw):
        key, tokens, labels, captions = record
        example = {}
        for field, value in (("labels", labels), ("captions", json.loads(captions))):
            if field in fields and not value:
                raise ValueError(f'{key.decode()} has nothing for the field "{field}".')
        if "images" in fields:
            example["images"] = np.frombuffer(tokens, "<i4").reshape(self.grid)
        if "labels" in fields:
            example["labels"] = read_labels(EncodedPicture(key.decode(), labels))
        if "captions" in fields:
            example["captions"] = drawn_caption(json.loads(captions), draw)
        return example

    def element_spec(self, field):
        tf = tensorflow()
        return {
            "images": tf.TensorSpec(self.grid, tf.int32),
            "labels": tf.TensorSpec(self.facts["image_size"], tf.int32),
            "captions": tf.TensorSpec((), tf.string),
        }[field]


def read_index(directory):
    """What tokens.json says: a dict of "format", "shards", "grid", "fingerprint" and so on."""
    path = Path(directory).expanduser() / INDEX
    expected = f"a folder of tokens with {INDEX}, as `python -m keras_regvq tokenize` writes it"
    try:
        with open_regular(path) as file:
            facts = json.loads(file.read())
        valid = facts["format"] in FORMATS and facts["split"] in ("train", "test", "all")
        valid = valid and all(Path(name).name == name for name in facts["shards"])
        valid = valid and all(int(side) > 0 for side in (*facts["grid"], *facts["image_size"]))
        valid = valid and len(facts["grid"]) in (2, 3) and len(facts["image_size"]) == 2
        valid = valid and isinstance(facts["complete"], bool)
        valid = valid and isinstance(facts["fingerprint"], str)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        refuse("source", f"{shown_name(directory)} ({error})", expected)
    if not valid:
        refuse("source", f"{shown_name(path)}, which is damaged", expected)
    return facts


def _parquet_records(path):
    with open_parquet(path) as file:
        for batch in file.iter_batches(1024):
            for row in batch.to_pylist():
                tokens = np.asarray(row["tokens"], "<i4").tobytes()
                captions = json.dumps(row.get("captions") or []).encode()
                yield row["key"].encode(), tokens, row.get("label_map") or b"", captions


def _tar_records(path):
    for key, members in tar_members(path, ("tokens.npy", "labels.png", "txt")):
        tokens = np.load(io.BytesIO(members["tokens.npy"]), allow_pickle=False)
        captions = members.get("txt", b"").decode().splitlines()
        labels = members.get("labels.png", b"")
        key = key.replace("%2E", ".")
        yield key.encode(), tokens.astype("<i4").tobytes(), labels, json.dumps(captions).encode()

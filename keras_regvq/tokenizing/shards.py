"""Writing shards of tokens: Parquet, or WebDataset's tar files."""

import io
import itertools
import json
import tarfile

import numpy as np
from PIL import Image

from keras_regvq.data.sources.parquet_files import pyarrow_parquet
from keras_regvq.data.sources.token_shards import FORMATS
from keras_regvq.files.replacing import replacing


def shard_name(number, format):
    return f"shard-{number:06}.{FORMATS[format]}"


def write_shard(path, rows, fields, facts, format):
    """Write a shard, whole or not at all; the same rows give the same bytes.

    Args:
        path: of the file.
        rows: list of dicts of "key", "tokens" int32 (h, w) or (h, w, q), and "captions", a tuple of
            texts, and "labels", int32 (H, W), where `fields` have them.
        fields: names.
        facts: dict that is kept in the file, where the format has a place for it.
        format: of `FORMATS`.
    """
    with replacing(path) as temporary:
        (_write_parquet if format == "parquet" else _write_tar)(temporary, rows, fields, facts)


def _write_parquet(path, rows, fields, facts):
    parquet = pyarrow_parquet()
    import pyarrow as pa

    number = pa.uint16() if facts["codebook_size"] <= 2**16 else pa.int32()
    columns = [("key", pa.string()), ("tokens", pa.list_(number))]
    columns += [("captions", pa.list_(pa.string()))] if "captions" in fields else []
    columns += [("label_map", pa.binary())] if "labels" in fields else []
    schema = pa.schema(columns, metadata={"keras_regvq": json.dumps(facts)})
    values = {
        "key": [row["key"] for row in rows],
        "tokens": [row["tokens"].ravel() for row in rows],
        "captions": [list(row["captions"]) for row in rows] if "captions" in fields else None,
        "label_map": [_png(row["labels"]) for row in rows] if "labels" in fields else None,
    }
    arrays = [pa.array(values[name], kind) for name, kind in columns]
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), path, compression="zstd")


def _write_tar(path, rows, fields, facts):
    kind = np.uint16 if facts["codebook_size"] <= 2**16 else np.int32
    # What follows the first dot of a member's name is its kind: the key has none.
    stems = [row["key"].replace(".", "%2E") or "example" for row in rows]
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for stem, row in zip(_made_unique(stems), rows, strict=True):
            _add(archive, f"{stem}.tokens.npy", _npy(row["tokens"].astype(kind)))
            if "captions" in fields:
                lines = [" ".join(caption.split()) for caption in row["captions"]]
                _add(archive, f"{stem}.txt", "\n".join(lines).encode())
            if "labels" in fields:
                _add(archive, f"{stem}.labels.png", _png(row["labels"]))


def _made_unique(stems):
    """Yield the names; one that was there already with a number, since a reader would join both."""
    taken, given = set(stems), set()
    for stem in stems:
        name, numbers = stem, itertools.count(2)
        while name in given or (name != stem and name in taken):
            name = f"{stem}-{next(numbers)}"
        given.add(name)
        yield name


def _add(archive, name, data):
    member = tarfile.TarInfo(name)  # without a date: the same rows, the same bytes
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def check_labels(labels):
    """Raise ValueError for a label map that a shard cannot hold: they are PNG files of ids."""
    low, high = labels.min(initial=0), labels.max(initial=0)
    if low < 0 or high >= 2**16:
        raise ValueError(f"labels from {low} to {high} are not in 0 to {2**16 - 1}")


def _png(labels):
    file = io.BytesIO()
    kind = np.uint8 if labels.max(initial=0) < 256 else np.uint16
    Image.fromarray(labels.astype(kind)).save(file, "png")
    return file.getvalue()

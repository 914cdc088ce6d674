"""Parquet files with pictures in them, as data sets are kept on hubs."""

from keras_regvq.data.image_files import EncodedPicture
from keras_regvq.data.sources.samples import Sample
from keras_regvq.files.regular_files import shown_name

NAMES = {
    "key": ("key", "__key__", "id", "image_id", "file_name", "filename"),
    "image": ("image", "images", "jpg", "png", "image_bytes", "bytes", "img"),
    "labels": ("label_map", "labels", "segmentation", "annotation", "mask"),
    "captions": ("captions", "caption", "text", "txt", "prompt"),
}
"""Columns of what a sample has, the first that is there."""

_ROWS = 64  # that are in memory at a time


def pyarrow_parquet():
    """Import pyarrow, which the extra "shards" brings."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        message = 'Parquet files need pyarrow: pip install "keras_regvq[shards]"'
        raise ImportError(message) from error
    return pyarrow.parquet


def parquet_samples(path):
    """The samples of a Parquet file, a few rows in memory at a time.

    Pictures are bytes, or {"bytes": ..., "path": ...} as Hugging Face's data sets have them;
    captions are a text or a list of texts. `NAMES` are the columns that are looked for.

    Args:
        path: the file.

    Yields:
        `Sample`; its key is that of the row, or else the file's stem and the row's number.

    Raises:
        OSError, ValueError: naming the file, if it cannot be opened or is none.
    """
    with open_parquet(path) as file:
        chosen = {name: _column(file.schema_arrow, NAMES[name]) for name in NAMES}
        columns = [column for column in chosen.values() if column is not None]
        number = 0
        for batch in file.iter_batches(_ROWS, columns=columns):
            for row in batch.to_pylist():
                found = {name: row.get(column) for name, column in chosen.items()}
                yield _sample(found, f"{path.stem}/{number:08}")
                number += 1


def open_parquet(path):
    """A `pyarrow.parquet.ParquetFile`; what it raises becomes an error that names the file."""
    parquet = pyarrow_parquet()
    try:
        return parquet.ParquetFile(path)
    except (ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{shown_name(path)} is no Parquet file: {error}") from error


def _column(schema, names):
    return next((name for name in names if name in schema.names), None)


def _sample(found, key):
    key = key if found["key"] is None else shown_name(str(found["key"]))
    captions = found["captions"]
    captions = [captions] if isinstance(captions, str) else captions
    captions = captions if isinstance(captions, list) else []
    pictures = [_picture(found[name], key) for name in ("image", "labels")]
    return Sample(key, *pictures, tuple(c for c in captions if isinstance(c, str) and c))


def _picture(value, key):
    value = value.get("bytes") if isinstance(value, dict) else value
    return EncodedPicture(key, value) if isinstance(value, bytes) else None

"""Tokens of a data set, made once and kept on disk."""

import json
import zlib
from pathlib import Path

import numpy as np

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.npz import read_npz, write_npz
from keras_regvq.files.replacing import write_text


def tokenize_batches(dataset, encode, directory=None, fingerprint="", verbose=True):
    """Encode every batch of a data set, or read what an earlier call has kept.

    Each batch becomes a file with the checksum of the batch that it was made from. A call that
    finds some of them, after an interruption, reads the data again but encodes only what is
    missing, damaged or made from other data. Once all are there, only as much of the data set is
    read as the first file was made from: it has to be the same.

    Args:
        dataset: an iterable of dicts of arrays or tensors, in the same order every time. None takes
            what the directory holds, whatever it was made from.
        encode: maps a dict of arrays to a dict of arrays of equal length.
        directory: where the files are, made if missing; None: keep nothing.
        fingerprint: what the result depends on besides the data: that of another is refused.
        verbose: whether a progress bar shows.

    Returns:
        dict of arrays, all batches joined, integers of the smallest type that holds them.

    Raises:
        ValueError: if the directory belongs to another fingerprint, or holds all tokens of other
            data: other first examples, or another number. If the data set is empty, or None where
            the directory does not hold all tokens.
    """
    cache = _Cache(directory, fingerprint) if directory is not None else None
    results = cache.complete() if cache else None
    if results is not None and dataset is not None:
        cache.check_made_from(dataset, results)
    if results is None:
        if dataset is None:
            refuse("dataset", "None, without a directory of all tokens", "the data to be encoded")
        results = []
        for batch in _progress(dataset, verbose):
            batch = {name: _plain(values) for name, values in batch.items()}
            checksum = _checksum(batch)
            encoded = cache.read(len(results), checksum) if cache else None
            if encoded is None:
                encoded = {name: _smallest(a) for name, a in encode(batch).items()}
                if cache:
                    cache.write(len(results), checksum, encoded)
            results.append(encoded)
        if not results:
            refuse("dataset", "an empty data set", "at least one batch")
        if cache:
            cache.finish(len(results))
    return {name: np.concatenate([result[name] for result in results]) for name in results[0]}


class _Cache:
    """The files of one data set: 000000.npz, 000001.npz, ..., and cache.json."""

    def __init__(self, directory, fingerprint):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.index = self.directory / "cache.json"
        self.facts = {"fingerprint": fingerprint, "batches": None}
        if self.index.exists():
            self.facts = _read_index(self.index)
            if self.facts["fingerprint"] != fingerprint:
                refuse(
                    "directory",
                    f"{self.directory}, which holds the tokens of another tokenizer",
                    "another directory, or this one emptied",
                )
        else:
            self._write_index()

    def _write_index(self):
        write_text(self.index, json.dumps(self.facts))

    def _path(self, number):
        return self.directory / f"{number:06d}.npz"

    def complete(self):
        """All batches if every one is there and whole, else None."""
        if self.facts["batches"] is None:
            return None
        results = [self.read(number) for number in range(self.facts["batches"])]
        return None if any(result is None for result in results) else results

    def check_made_from(self, dataset, results):
        """Refuse data that the tokens, all of them, were not made from.

        The batches may have another size now: compared are the examples of the first file, and how
        many there are, where the data set knows its number of batches.
        """
        lengths = [len(next(iter(result.values()))) for result in results]
        batches, size = [], 0
        for batch in dataset:
            batches.append({name: np.asarray(values) for name, values in batch.items()})
            size = size or _length(batches[0])
            if sum(map(_length, batches)) >= lengths[0]:
                break
        names = batches[0] if batches else ()
        first = {name: np.concatenate([batch[name] for batch in batches]) for name in names}
        first = {name: _plain(values[: lengths[0]]) for name, values in first.items()}
        if self.read(0, _checksum(first)) is None:
            self._refuse_data(f"other data: their first {lengths[0]} examples are others")
        try:
            count = len(dataset)
        except TypeError:  # it does not know
            return
        as_before = count == len(results) and size == lengths[0]
        if not as_before and not (count - 1) * size < sum(lengths) <= count * size:
            self._refuse_data(f"{sum(lengths)} examples, not from {count} batches of {size}")

    def _refuse_data(self, reason):
        refuse(
            "directory",
            f"{self.directory}, whose tokens were made from {reason}",
            "another directory, or this one emptied",
        )

    def read(self, number, checksum=None):
        """A batch's arrays, or None if they are missing, damaged or made from other data."""
        try:
            arrays = read_npz(self._path(number))
        except (OSError, ValueError):
            return None
        made_from = arrays.pop("checksum", None)
        return arrays if made_from is not None and checksum in (None, int(made_from)) else None

    def write(self, number, checksum, arrays):
        arrays = {"checksum": np.uint32(checksum), **arrays}
        write_npz(self._path(number), arrays, compress=True)

    def finish(self, batches):
        self.facts["batches"] = batches
        self._write_index()


def _read_index(path):
    """What a cache.json holds: {"fingerprint": text, "batches": their number, or None}."""
    try:
        facts = json.loads(path.read_bytes())
        valid = isinstance(facts["fingerprint"], str)
        valid = valid and isinstance(facts["batches"], (int, type(None)))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        valid, facts = False, f"{type(error).__name__}: {error}"
    if not valid:
        expected = "one that this package wrote; without it the tokens are made again"
        refuse("directory", f"{path} ({str(facts)[:200]})", expected)
    return facts


def _length(batch):
    return len(next(iter(batch.values())))


def _checksum(batch):
    value = 0
    for name in sorted(batch):
        value = zlib.crc32(np.ascontiguousarray(batch[name]), zlib.crc32(name.encode(), value))
    return value


def _plain(values):
    """An array that can be kept without pickling: of texts, UTF-8 in bytes."""
    values = np.asarray(values)
    if values.dtype.kind not in "OU":
        return values
    texts = [text.encode() if isinstance(text, str) else text for text in values.ravel().tolist()]
    return np.array(texts, "S").reshape(values.shape)


def _smallest(array):
    array = np.asarray(array)
    if array.dtype.kind not in "iu":
        return array
    ends = int(array.min(initial=0)), int(array.max(initial=0))
    return array.astype(np.promote_types(*map(np.min_scalar_type, ends)))


def _progress(dataset, verbose):
    """Yield the batches, with Keras's progress bar in between."""
    if not verbose:
        yield from dataset
        return
    import keras

    total = len(dataset) if hasattr(dataset, "__len__") else None
    bar = keras.utils.Progbar(total, unit_name="batch")
    for number, batch in enumerate(dataset, 1):
        yield batch
        bar.update(number)

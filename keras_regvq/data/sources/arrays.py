"""Arrays in memory or in an .npz file as examples."""

import numpy as np

from keras_regvq.checks.arguments import check_size, refuse
from keras_regvq.data.decoding import fit_image, fit_labels, to_uint8
from keras_regvq.data.pipeline import FIELDS
from keras_regvq.data.sources.npz_file import NpzFile
from keras_regvq.files.regular_files import shown_name


class ArrayExamples:
    """Images, and the label maps and captions that are given, read by number.

    Args:
        images: uint8, or float in [0, 1], (N, H, W, C) with C of 1, 3 or 4; or None where the
            fields asked for leave them out.
        labels: integers (N, H, W), or None.
        captions: (N,) or (N, K) strings, or None.
        image_size: Side, or (height, width), that images and label maps are scaled and cropped to;
            None: as they are.
        channels: 1, 3 or 4, which images are brought to.

    Raises:
        ValueError: for a wrong shape, dtype or range, or different lengths.
    """

    parallel = False

    def __init__(self, images, labels=None, captions=None, image_size=None, channels=3):
        given = {"images": images, "labels": labels, "captions": captions}
        checks = {"images": _check_images, "labels": _check_labels, "captions": _check_captions}
        self._arrays = {n: checks[n](a) for n, a in given.items() if a is not None}
        self.fields = tuple(self._arrays)
        lengths = {name: len(array) for name, array in self._arrays.items()}
        if len(set(lengths.values())) != 1:
            refuse(" and ".join(lengths), f"lengths {lengths}", "arrays of equal length")
        sides = {n: self._arrays[n].shape[1:3] for n in self.fields if n != "captions"}
        if len(set(sides.values())) > 1:
            refuse("labels", f"height and width {sides['labels']}", f"{sides['images']}, as images")
        self.size = next(iter(sides.values()), (0, 0))
        if image_size is not None:
            self.size = check_size("image_size", image_size)
        self.channels = channels

    def __len__(self):
        return len(self._arrays[self.fields[0]])

    def name(self, index):
        return f"{index:08}"

    def read_alone(self, index, fields):
        return self.read(index, fields)

    def read(self, index, fields):
        example = {name: self._arrays[name][index] for name in fields}
        if "images" in example:
            example["images"] = fit_image(to_uint8(example["images"], self.channels), *self.size)
        if "labels" in example:
            example["labels"] = fit_labels(example["labels"].astype(np.int32), *self.size)
        if "captions" in example:
            example["captions"] = tuple(str(text) for text in np.atleast_1d(example["captions"]))
        return example


def open_npz(path, split, image_size, fields, limit=None, channels=3):
    """Opens one split of an .npz file (`numpy.savez`) as `ArrayExamples`.

    The file holds arrays "images", "labels" and "captions" (what `fields` asks for), of equal
    length. The test split is, by what the file holds: "images_test", "labels_test" and
    "captions_test"; or where an array "split" of that length says "test" (or 1, against "train" or
    0); or else every tenth example, the 10th, the 20th and so on. Split "all" is all of them.

    Raises:
        ValueError: naming the file, for one that is none, a key that is missing, an empty split, or
            an array that does not fit.
    """
    try:
        with NpzFile(path) as file:
            arrays = _read_arrays(file, fields, split)
        return ArrayExamples(*_of_split(arrays, path, split, fields, limit), image_size, channels)
    except ValueError as error:
        if shown_name(path) in str(error):
            raise
        raise ValueError(f"{error} File: {shown_name(path)}.") from error


def _of_split(arrays, path, split, fields, limit):
    """Images, labels and captions, or None for each, of one split."""
    chosen = [arrays.get(name) for name in FIELDS]
    if "split" in arrays:
        in_test = _check_split(arrays["split"], len(arrays[fields[0]]))
        rows = np.flatnonzero(in_test == (split == "test"))
        if not len(rows):
            refuse("split", f"{split!r}, for which {path} has no example", "a split with examples")
        lengths = {name: len(arrays[name]) for name in fields}
        if len(set(lengths.values())) > 1:
            refuse("source", f"{path} with lengths {lengths}", "arrays of equal length")
        chosen = [array if array is None else array[rows] for array in chosen]
    if limit is not None:
        chosen = [array if array is None else array[:limit] for array in chosen]
    return chosen


def _read_arrays(file, fields, split):
    """A dict of the arrays of `fields`, and "split" where these hold both splits."""
    has_test = any(f"{name}_test" in file.names for name in FIELDS)
    suffixes = (
        {"train": ("",), "test": ("_test",), "all": ("", "_test")}[split] if has_test else ("",)
    )
    missing = [name + s for name in fields for s in suffixes if name + s not in file.names]
    if missing:
        held = ", ".join(sorted(file.names)) or "nothing"
        expected = f"arrays named {', '.join(missing)}"
        refuse("source", f"{shown_name(file.path)} with {held}", expected)
    parts = file.read([name + suffix for name in fields for suffix in suffixes])
    arrays = {}
    for name in fields:
        of_name = [np.atleast_1d(parts[name + suffix]) for suffix in suffixes]
        arrays[name] = of_name[0] if len(of_name) == 1 else _joined(name, of_name)
    if split == "all" or has_test:
        return arrays
    if "split" in file.names:
        arrays["split"] = file.read(["split"])["split"]
    else:
        arrays["split"] = np.arange(len(arrays[fields[0]])) % 10 == 9
    return arrays


def _joined(name, parts):
    if len({(part.shape[1:], part.dtype.kind) for part in parts}) > 1:
        shapes = " and ".join(f"{part.shape} of {part.dtype}" for part in parts)
        refuse(name, shapes, "arrays of one shape and kind for both splits")
    return np.concatenate(parts)


def _check_split(values, length):
    expected = f'{length} times "train" or "test", or 0 or 1'
    if values.shape != (length,):
        refuse("split", f'an array "split" of shape {values.shape}', expected)
    values = values.astype(str) if values.dtype.kind == "S" else values
    if values.dtype.kind == "U" and np.isin(values, ("train", "test")).all():
        return values == "test"
    if values.dtype.kind in "biu" and np.isin(values, (0, 1)).all():
        return values == 1
    refuse("split", f'an array "split" of {np.unique(values)[:5]}', expected)


def _check_images(images):
    expected = "uint8, or float in [0, 1], of shape (N, H, W, 1), (N, H, W, 3) or (N, H, W, 4)"
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or 0 in images.shape:
        refuse("images", f"shape {images.shape}", expected)
    if images.dtype != np.uint8:
        if images.dtype.kind != "f":
            refuse("images", f"dtype {images.dtype}", expected)
        low, high = images.min(), images.max()
        if not (low >= -1e-3 and high <= 1 + 1e-3):  # nor NaN
            refuse("images", f"floats from {low:.4g} to {high:.4g}", expected)
    return images


def _check_labels(labels):
    labels = np.asarray(labels)
    if labels.ndim != 3 or 0 in labels.shape or labels.dtype.kind not in "iu":
        received = f"shape {labels.shape} and dtype {labels.dtype}"
        refuse("labels", received, "integers of shape (N, H, W)")
    low, high = labels.min(), labels.max()
    if labels.dtype.itemsize >= 4 and not -(2**31) <= low <= high < 2**31:
        refuse("labels", f"{labels.dtype} from {low} to {high}", "integers of 32 bits")
    return labels


def _check_captions(captions):
    captions = np.asarray(captions)
    if captions.ndim not in (1, 2) or 0 in captions.shape or captions.dtype.kind not in "US":
        received = f"shape {captions.shape} and dtype {captions.dtype}"
        refuse("captions", received, "strings of shape (N,) or (N, K)")
    if captions.dtype.kind == "U":
        return captions
    try:
        return np.char.decode(captions, "utf-8")
    except UnicodeDecodeError as error:
        refuse("captions", f"bytes with {error.object[:100]!r}", "bytes that are UTF-8")

"""Arrays in memory or in an .npz file as examples."""

import zipfile
import zlib

import numpy as np

from keras_regvq.data.pictures import fit_image, fit_labels, to_uint8
from keras_regvq.data.pipeline import FIELDS
from keras_regvq.refusal import refuse


class ArrayExamples:
    """Images, and the label maps and captions that are given, read by number.

    Args:
        images: uint8, or float in [0, 1], (N, H, W, 3) or (N, H, W, 1); or None where the fields
            asked for leave them out.
        labels: integers (N, H, W), or None.
        captions: (N,) or (N, K) strings, or None.
        image_size: Side that images and label maps are scaled and cropped to; None: as they are.

    Raises:
        ValueError: for a wrong shape, dtype or range, or different lengths.
    """

    parallel = False

    def __init__(self, images, labels=None, captions=None, image_size=None):
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
            self.size = (image_size, image_size)

    def __len__(self):
        return len(self._arrays[self.fields[0]])

    def read(self, index, fields):
        example = {name: self._arrays[name][index] for name in fields}
        if "images" in example:
            example["images"] = fit_image(to_uint8(example["images"]), *self.size)
        if "labels" in example:
            example["labels"] = fit_labels(example["labels"].astype(np.int32), *self.size)
        if "captions" in example:
            example["captions"] = tuple(str(text) for text in np.atleast_1d(example["captions"]))
        return example


def open_npz(path, split, image_size, fields, limit=None):
    """Opens one split of an .npz file (`numpy.savez`) as `ArrayExamples`.

    The file holds arrays "images", "labels" and "captions" (what `fields` asks for), of equal
    length. The test split is, by what the file holds: "images_test", "labels_test" and
    "captions_test"; or where an array "split" of that length says "test" (or 1, against "train" or
    0); or else every tenth example, the 10th, the 20th and so on.

    Raises:
        ValueError: for a file that is none, a key that is missing, an empty split, or an array
            that does not fit.
    """
    arrays = _read_npz(path, fields, split)
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
    return ArrayExamples(*chosen, image_size)


def _read_npz(path, fields, split):
    """A dict of the arrays of `fields`, and "split" where these hold both splits."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names = set(file.files)
            suffix = ""
            if any(f"{name}_test" in names for name in FIELDS):
                suffix = "_test" if split == "test" else ""
                names.discard("split")
            missing = [name + suffix for name in fields if name + suffix not in names]
            if missing:
                held = ", ".join(sorted(file.files)) or "nothing"
                refuse("source", f"{path} with {held}", f"arrays named {', '.join(missing)}")
            arrays = {name: np.atleast_1d(file[name + suffix]) for name in fields}
            if "split" in names:
                arrays["split"] = file["split"]
            elif not any(f"{name}_test" in names for name in FIELDS):
                arrays["split"] = np.arange(len(arrays[fields[0]])) % 10 == 9
            return arrays
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, TypeError) as error:
        refuse("source", f"{path} ({error})", "the path of an .npz file")
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        refuse("source", f"{path} ({error})", "an .npz file of numbers and unicode strings")


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
    expected = "uint8, or float in [0, 1], of shape (N, H, W, 3) or (N, H, W, 1)"
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
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
    return labels


def _check_captions(captions):
    captions = np.asarray(captions)
    if captions.ndim not in (1, 2) or 0 in captions.shape or captions.dtype.kind not in "US":
        received = f"shape {captions.shape} and dtype {captions.dtype}"
        refuse("captions", received, "strings of shape (N,) or (N, K)")
    return np.char.decode(captions, "utf-8") if captions.dtype.kind == "S" else captions

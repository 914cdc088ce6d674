"""Picture folders: images, and label maps and captions that go with them."""

import warnings
import zlib
from collections import defaultdict
from pathlib import Path

from keras_regvq.data.captions_file import read_captions
from keras_regvq.data.pictures import (
    fit_image,
    fit_labels,
    is_label_map,
    open_picture,
    read_image,
    read_labels,
    shown_size,
)
from keras_regvq.refusal import check_integer, refuse

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
_SPLIT_FOLDERS = {"train": ("train", "training"), "test": ("test", "validation", "val")}


class FolderExamples:
    """The usable images of one split of a folder, read by number.

        DIR/images/**.jpg ...   pictures, in subfolders or not; without images/: those in DIR
        DIR/labels/**.png       label maps (one channel of ids) of the same size and path;
                                "annotations" is another name for this folder
        DIR/captions.jsonl      lines of {"file": "a.jpg" or "a", "caption": "..."},
                                or "captions": ["...", "..."]

    Splits: DIR/train and DIR/test, each laid out like that, if there are both; or else
    DIR/images/train and DIR/images/test (labels likewise); "training", and "validation" or "val",
    are other names for them. Otherwise the images whose path without suffix has a CRC-32 that 10
    divides are the test split, so an image stays in its split whatever is added.

    Every file's header is looked at beforehand. Images that are unreadable, smaller than
    `min_size`, or without a label map or caption that is asked for are skipped, with one warning.
    An image that turns out broken while it is decoded is replaced by the next one that is not, so
    that no run breaks and the number of examples stays; one warning tells. `verify` decodes all of
    them beforehand instead, which takes as long as one pass.

    Data sets with a layout of their own are subclasses, which say what differs. Where they know how
    many `classes` there are, a label beyond them is an error that names the file, since that file
    is not broken but of another data set; with `verify` it is skipped.

    Args:
        directory: The folder.
        split: "train" or "test".
        image_size: Side that images and label maps are brought to.
        fields: What is asked for.
        limit: At most so many images, or None. They are in the order of their CRC-32, so a limited
            number is drawn from all subfolders.
        min_size: Images whose shorter side is below this are skipped; None: a quarter of
            `image_size`.
        verify: Whether every image is decoded beforehand.

    Raises:
        ValueError: for a folder that is missing, or has no usable image for the split.
    """

    parallel = True
    kind = "folder"  # what the source starts with
    classes = None  # how many labels there are
    _image_folder, _label_folders = "images", ("labels", "annotations")

    def __init__(
        self, directory, split, image_size, fields, limit=None, min_size=None, verify=False
    ):
        directory = Path(directory).expanduser()
        if not directory.is_dir():
            refuse("source", f'"{self.kind}:{directory}"', "the path of a folder that exists")
        self.size = (image_size, image_size)
        self._fields, self._verify = fields, verify
        self._min_size = image_size / 4
        if min_size is not None:
            self._min_size = check_integer("min_size", min_size, 1)
        self._broken, self._warned = set(), False
        root, inner, self._by_hash = self._find_split(directory, split)
        self._images = root / self._image_folder if (root / self._image_folder).is_dir() else root
        self._labels = next((root / n for n in self._label_folders if (root / n).is_dir()), None)
        self._captions = {}
        if "labels" in fields and self._labels is None:
            name = self._label_folders[0]
            refuse("source", f"{root} without a folder {name}/", f'{name}/ for the field "labels"')
        if "captions" in fields:
            self._captions = self._read_captions(root)
        self._scan(root, inner, split, limit)

    def __len__(self):
        return len(self._files)

    def read(self, index, fields):
        for step in range(len(self)):
            number = (index + step) % len(self)
            if number not in self._broken:
                try:
                    return self._decode(self._files[number], fields)
                except _UnknownLabelError as error:
                    expected = f"labels up to {self.classes - 1}; verify=True skips such images"
                    refuse("source", error, expected)
                except Exception as error:  # whatever a decoder raises on a broken file
                    self._broken.add(number)
                    self._warn_broken(self._files[number], error)
        raise ValueError(f"None of the {len(self)} images in {self._images} can be decoded.")

    def _decode(self, file, fields):
        height, width = self.size
        example = {}
        if "images" in fields:
            image = read_image(self._images / file, max(height, width))
            example["images"] = fit_image(image, height, width)
        if "labels" in fields:
            labels = self._read_label_map(file)
            if self.classes is not None and labels.max() >= self.classes:
                raise _UnknownLabelError(f"{self._label_path(file)} with label {labels.max()}")
            example["labels"] = fit_labels(labels, height, width)
        if "captions" in fields:
            example["captions"] = self._captions_of(file)
        return example

    def _find_split(self, directory, split):
        """-> where images/ and labels/ are, the folder in images/ to look in, whether to hash."""
        for inside in (directory, directory / "images"):
            found = {}
            for name, folders in _SPLIT_FOLDERS.items():
                found[name] = next((f for f in folders if (inside / f).is_dir()), None)
            if all(found.values()):
                if inside == directory:
                    return directory / found[split], "", False
                return directory, found[split], False
        return directory, "", True

    def _read_captions(self, root):
        """dict of image names and tuples of captions, for `_captions_of`."""
        return read_captions(root / "captions.jsonl")

    def _of_split(self, files, split):
        """Those of the files found, relative to the folder of images, that are of the split."""
        if not self._by_hash:
            return files
        return [file for file in files if (path_hash(file) % 10 == 0) == (split == "test")]

    def _scan(self, root, inner, split, limit):
        start = self._images / inner
        # Where DIR itself holds the images, DIR/labels does not.
        skipped = {root / name for name in self._label_folders if self._images == root}
        files = [
            path.relative_to(self._images)
            for path in start.rglob("*")
            if path.suffix.lower() in _SUFFIXES
            and not path.name.startswith(".")
            and skipped.isdisjoint(path.parents)
        ]
        files = sorted((path_hash(file), file.as_posix()) for file in self._of_split(files, split))
        self._files, problems = [], defaultdict(list)
        for _, file in files:
            if limit is not None and len(self._files) == limit:
                break
            problem = self._problem(Path(file))
            if problem is None:
                self._files.append(Path(file))
            else:
                problems[problem].append(file)
        report = "; ".join(_count(problem, names) for problem, names in problems.items())
        if not self._files:
            received = f"{start} with {len(files)} images for this split"
            refuse("source", f"{received} ({report})" if report else received, "usable images")
        if report:
            warnings.warn(f"Images of {start} are skipped: {report}.", stacklevel=4)

    def _problem(self, file):
        """What makes an image unusable, or None, from the headers of its files."""
        try:
            with open_picture(self._images / file) as image:
                size = shown_size(image)
            if min(size) < self._min_size:
                return f"smaller than {self._min_size:g} pixels"
            if "labels" in self._fields:
                problem = self._label_problem(file, size)
                if problem is not None:
                    return problem
            if "captions" in self._fields and not self._captions_of(file):
                return "without a caption"
            if self._verify:
                self._decode(file, self._fields)
        except _UnknownLabelError:
            return f"with labels above {self.classes - 1}"
        except Exception:  # whatever Pillow raises on a broken file
            return "unreadable"
        return None

    def _label_problem(self, file, size):
        """What makes the label map unusable for an image of `size` (width, height), or None."""
        path = self._label_path(file)
        if path is None:
            return "without a label map"
        with open_picture(path) as labels:
            if not is_label_map(labels):
                return "whose label map is not one channel of ids"
            if labels.size != size:
                return "whose label map has another size"
        return None

    def _read_label_map(self, file):
        """int32 (H, W), before it is brought to size."""
        return read_labels(self._label_path(file))

    def _label_path(self, file):
        path = (self._labels / file).with_suffix(".png")
        return path if path.is_file() else None

    def _captions_of(self, file):
        """By path from images/ or by bare name, each with or without its suffix."""
        stem = file.with_suffix("")
        for key in (file.as_posix(), stem.as_posix(), file.name, stem.name):
            if key in self._captions:
                return self._captions[key]
        return ()

    def _warn_broken(self, file, error):
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{self._images / file} cannot be decoded ({error}); it and any later image like "
                "it are replaced by the next readable one. verify=True skips them beforehand.",
                stacklevel=2,
            )


class _UnknownLabelError(ValueError):
    """A label map has a label that its data set does not have."""


def path_hash(file):
    """CRC-32 of a path without its suffix."""
    return zlib.crc32(file.with_suffix("").as_posix().encode())


def _count(problem, names):
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {problem} ({shown})"

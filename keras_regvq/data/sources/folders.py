"""Picture folders: images, and label maps and captions that go with them."""

import os
import warnings
from pathlib import Path

from keras_regvq.checks.arguments import check_integer, check_size, refuse
from keras_regvq.data.decoding import fit_image, read_image, shown_size
from keras_regvq.data.image_files import MAX_PIXELS, UNREADABLE, TooManyPixelsError, open_picture
from keras_regvq.data.label_maps import UnknownLabelError, read_labels, read_palette
from keras_regvq.data.left_out import LeftOut
from keras_regvq.data.sources.captions_file import WRONG, captions_beside, find_captions, look_up
from keras_regvq.data.sources.folder_roots import (
    find_label_map,
    find_roots,
    label_problem,
    open_root,
)
from keras_regvq.data.sources.folder_scan import LABEL_FOLDERS
from keras_regvq.data.sources.split_names import files_of_split, path_hash
from keras_regvq.files.regular_files import shown_name


class FolderExamples:
    """The usable images of one split of a folder, read by number.

        DIR/images/**.jpg ...   pictures, in subfolders or not; without images/: those in DIR
        DIR/labels/**.png       label maps of the same size and path: one channel of ids, or the
                                colours of `label_palette`; PNG, TIFF, BMP or GIF. "annotations",
                                "masks" and "segmentation" are other names for this folder
        DIR/captions.jsonl      lines of {"file": "a.jpg" or "a", "caption": "..."},
                                or "captions": ["...", "..."]; see `captions_file.find_captions` for
                                metadata.jsonl, metadata.csv and MS-COCO's files
        DIR/images/**.txt       or else a text beside each image, one caption a line

    Splits: DIR/train and DIR/test, each laid out like that, if there are both; or else
    DIR/images/train and DIR/images/test (labels likewise); or such folders deeper down. In any
    case, "training" is another name for the one, and "testing", "evaluation", "holdout",
    "validation", "valid", "val" or "dev" for the other, also in names such as val2017; of several
    held-out folders the first in this order is the test split. Otherwise the images whose path
    without suffix has a CRC-32 that 10 divides are the test split, so an image stays in its split
    whatever is added. Split "all" is every image.

    Every file's header is looked at beforehand. One warning lists, with the reasons, what is left
    out: images that are unreadable, too large, smaller than `min_size`, or without a label map or
    caption that is asked for, in hidden folders (.ipynb_checkpoints, @eaDir) or those of label
    maps. An image that turns out broken while it is decoded is replaced by the next one, so that no
    run breaks and the number of examples stays; one warning names it. `verify` decodes all of them
    beforehand instead, which takes as long as one pass.

    Data sets with a layout of their own are subclasses. Where they know how many `classes` there
    are, a label beyond them is an error that names the file: it is not broken but of another data
    set; with `verify` it is skipped.

    Args:
        directory: The folder.
        split: "train", "test" or "all".
        image_size: Side, or (height, width), that images and label maps are brought to.
        fields: What is asked for.
        limit: At most so many images, or None; drawn from all subfolders, by their CRC-32.
        min_size: Images whose shorter side is below this are skipped; None: a quarter of
            `image_size`, its shorter side.
        verify: Whether every image is decoded beforehand.
        channels: 3 for RGB on white, 1 for luminance, 4 for RGBA.
        label_palette: The colour of each label: see `label_maps.read_palette`.
        max_pixels: Larger pictures are skipped: see `image_files.open_picture`.

    Raises:
        ValueError: for a folder that is missing, or has no usable image for the split.
    """

    parallel = True
    kind = "folder"  # what the source starts with
    classes = None  # how many labels there are
    _image_folder, _label_folders = "images", LABEL_FOLDERS

    def __init__(
        self,
        directory,
        split,
        image_size,
        fields,
        limit=None,
        min_size=None,
        verify=False,
        channels=3,
        label_palette=None,
        max_pixels=MAX_PIXELS,
    ):
        directory = Path(directory).expanduser()
        if not directory.is_dir():
            refuse("source", f'"{self.kind}:{directory}"', "the path of a folder that exists")
        self.size, self.channels = check_size("image_size", image_size), channels
        self._fields, self._verify, self._warned = fields, verify, False
        least = min(self.size) / 4
        self._min_size = least if min_size is None else check_integer("min_size", min_size, 1)
        self._max_pixels = check_integer("max_pixels", max_pixels, 1)
        self._palette = None if label_palette is None else read_palette(label_palette)
        self._directory, self._shown = directory, shown_name(directory)
        self._left_out, self._broken, candidates = LeftOut(), set(), []
        roots, by_hash = self._find_split(directory, split)
        for root in roots:
            files, left_out = open_root(root, self._image_folder, self._label_folders)
            self._left_out.add(left_out)
            if "labels" in fields and root.labels is None:
                received = f"{shown_name(root.folder)} without a folder {self._label_folders[0]}/"
                refuse("source", received, f'{self._label_folders[0]}/ for the field "labels"')
            if "captions" in fields:
                root.captions = self._read_captions(root, files)
            files = self._of_split(files, split) if by_hash else files
            candidates += [(path_hash(file), file.as_posix(), root, file) for file in files]
        candidates.sort(key=lambda candidate: candidate[:2])
        with warnings.catch_warnings():  # Pillow's, of what is counted here anyway
            warnings.filterwarnings("ignore", module="PIL")
            self._examples = self._usable(candidates, limit)
        self._files = [file for _, file in self._examples]
        self._report(split, len(candidates))

    def __len__(self):
        return len(self._examples)

    def name(self, index):
        """The path of an example's file in the folder: no other one has it."""
        root, file = self._examples[index]
        return shown_name(os.path.relpath(root.images / file, self._directory))

    def read_alone(self, index, fields):
        """`read`, but what is broken is an error and not replaced."""
        return self._decode(*self._examples[index], fields)

    def read(self, index, fields):
        for step in range(len(self)):
            number = (index + step) % len(self)
            if number not in self._broken:
                try:
                    return self._decode(*self._examples[number], fields)
                except Exception as error:  # whatever a decoder raises on a broken file
                    if isinstance(error, UnknownLabelError) and type(self).classes is not None:
                        expected = f"labels up to {self.classes - 1}; verify=True skips such images"
                        refuse("source", error, expected)
                    self._broken.add(number)
                    self._warn_broken(*self._examples[number], error)
        raise ValueError(f"None of the {len(self)} images in {self._shown} can be decoded.")

    def _decode(self, root, file, fields):
        example = {}
        if "images" in fields:
            path, side = root.images / file, max(self.size)
            image = read_image(path, side, self.channels, self._max_pixels)
            example["images"] = fit_image(image, *self.size)
        if "labels" in fields:
            example["labels"] = self._read_label_map(root, file)
        if "captions" in fields:
            example["captions"] = self._captions_of(root, file)
        return example

    def _find_split(self, directory, split):
        """-> the roots of the split, and whether `_of_split` chooses among their images."""
        *found, left_out, remarks = find_roots(directory, split)
        self._left_out.add(left_out, remarks)
        return found

    def _of_split(self, files, split):
        """Those of the files found, relative to the folder of images, that are of the split."""
        files, left_out = files_of_split(files, split)
        self._left_out.add(left_out)
        return files

    def _read_captions(self, root, files):
        """What `_captions_of` looks captions up in: dicts of image names and tuples of captions."""
        folders = (root.folder, root.images, self._directory)
        tables, wrong = find_captions(folders, root.name)
        self._left_out.add({WRONG: wrong})
        beside = ((root.images / file).with_suffix(".txt") for file in files)
        if not tables and not any(path.is_file() for path in beside):
            received = f"{shown_name(root.folder)} without captions.jsonl"
            refuse("source", received, 'this file, or a text beside each image, for "captions"')
        return tables

    def _captions_of(self, root, file):
        if captions := look_up(root.captions, file, (root.name, root.images.name)):
            return captions
        texts, wrong = captions_beside((root.images / file).with_suffix(".txt"))
        self._left_out.add({WRONG: wrong})
        return texts

    def _usable(self, candidates, limit):
        """(root, file) of the first `limit` of the candidates that can be used."""
        usable = []
        for _, name, root, file in candidates:
            if limit is not None and len(usable) == limit:
                break
            problem, detail = self._problem(root, file)
            if problem is None:
                usable.append((root, file))
            else:
                self._left_out.add({problem: [shown_name(name) + detail]})
        return usable

    def _problem(self, root, file):
        """What makes an image unusable, or None, from the headers of its files; and details."""
        try:
            with open_picture(root.images / file, self._max_pixels) as image:
                size = shown_size(image)
            if min(size) < self._min_size:
                return f"smaller than {self._min_size:g} pixels", ""
            if "labels" in self._fields and (problem := self._label_problem(root, file, size)):
                return problem, ""
            if "captions" in self._fields and not self._captions_of(root, file):
                return "without a caption", ""
            if self._verify:
                self._decode(root, file, self._fields)
        except TooManyPixelsError:
            return "of too many pixels", ""
        except UnknownLabelError as error:
            if type(self).classes is not None:
                return f"with labels above {self.classes - 1}", ""
            return "with unknown labels", f": {error.label}"
        except Exception:  # whatever a decoder raises on a broken file
            return "unreadable", ""
        return None, ""

    def _label_problem(self, root, file, size):
        return label_problem(root, file, size, self._max_pixels, self._palette)

    def _read_label_map(self, root, file):
        """int32 (height, width)."""
        path, palette = find_label_map(root, file), self._palette
        classes = self.classes if palette is None else len(palette)
        return read_labels(path, self.size, classes, palette, self._max_pixels)

    def _report(self, split, found):
        report = str(self._left_out)
        if not self._files:
            received = f"{self._shown} with {found} images for this split"
            refuse("source", f"{received} ({report})" if report else received, "usable images")
        if report:
            taken = "1 image is" if len(self) == 1 else f"{len(self)} images are"
            report = f"{self._shown}: {taken} taken for split {split!r}. {report}"
            warnings.warn(report, stacklevel=5)

    def _warn_broken(self, root, file, error):
        if not self._warned:
            self._warned = True
            reason = str(error).split(UNREADABLE)[-1].rstrip(".")
            warnings.warn(
                f"{shown_name(root.images / file)} cannot be decoded ({reason}); it and any like "
                "it are replaced by the next readable one. verify=True skips them beforehand.",
                stacklevel=2,
            )

"""Where in a directory the images of a split, their label maps and captions are."""

import os
from dataclasses import dataclass
from pathlib import Path

from keras_regvq.data.image_files import open_picture
from keras_regvq.data.label_maps import is_label_map
from keras_regvq.data.sources.folder_scan import (
    find_folder,
    find_pictures,
    is_hidden,
    is_label_folder,
)
from keras_regvq.data.sources.split_names import describe_splits, find_split_folders
from keras_regvq.files.regular_files import shown_name

_LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")


@dataclass
class Root:
    """A folder that holds images and what goes with them.

    Attributes:
        folder: the folder itself.
        inner: the folder inside its folder of images that is looked in; "": all of it.
        images, labels: the folders of images and of label maps; None for no such.
        captions: what captions are looked up in.
        parent: the folder of all splits, which may hold their label maps, or None.
    """

    folder: Path
    inner: str = ""
    images: Path = None
    labels: Path = None
    captions: object = None
    parent: Path = None
    _label_files: dict = None

    @property
    def name(self):
        """The name of the split's folder, or of the only folder."""
        return self.inner or self.folder.name


def find_roots(directory, split):
    """Finds the split folders in a directory or in its folder images/.

    Returns:
        A list of `Root`; whether they hold all splits, so that something else has to choose; a dict
        of lists, the names of what is left out by the reason; and a list of remarks.
    """
    remarks = []
    images = find_folder(directory, ("images",))
    for parent in (directory, images) if images else (directory,):
        names = [n for n in _subfolders(parent) if not is_hidden(n) and not is_label_folder(n)]
        splits, alone = find_split_folders(names)
        if alone:
            shown = ", ".join(f"{shown_name(name)}/" for name in alone)
            remarks.append(
                f"{shown} names a split, but there is none of the other kind beside it: a tenth of "
                "all images, by the CRC-32 of their paths, is for testing."
            )
        if splits is None:
            continue
        remark = describe_splits(splits)
        of_split = {"train": splits.train, "test": splits.test}
        of_split["all"] = (*splits.train, *splits.test, *splits.others)
        chosen = of_split[split]
        folders = {parent / name for name in of_split["all"]}
        beside, _ = find_pictures(parent, folders)
        beside = {"beside the folders of splits": [shown_name(path) for path in beside]}
        roots = [
            Root(parent / name, parent=parent) if parent == directory else Root(directory, name)
            for name in chosen
        ]
        return roots, False, beside, [remark] if remark and split != "all" else []
    return [Root(directory)], True, {}, remarks if split != "all" else []


def open_root(root, image_folder, label_folders):
    """Fills in the folders of a root and looks for its images.

    Returns:
        A list of their paths relative to the folder of images, and a dict of lists: the names of
        what is left out by the reason.
    """
    folder = root.folder
    root.images = find_folder(folder, (image_folder.lower(),)) or folder
    names = tuple(name.lower() for name in label_folders)
    root.labels = find_folder(folder, names) or find_folder(root.images, names)
    above = find_folder(root.parent, names) if root.labels is None and root.parent else None
    if above is not None and (above / folder.name).is_dir():
        root.labels = above / folder.name
    files, left_out = find_pictures(root.images / root.inner, {root.labels})
    return [Path(root.inner) / file for file in files], left_out


def find_label_map(root, file):
    """The path of the label map of an image, a path relative to the folder of images, or None."""
    if root._label_files is None:
        found, _ = find_pictures(root.labels)
        found = [path for path in found if path.suffix.lower() in _LABEL_SUFFIXES]
        found.sort(key=lambda path: _LABEL_SUFFIXES.index(path.suffix.lower()), reverse=True)
        root._label_files = {path.with_suffix(""): path for path in found}
    stem = file.with_suffix("")
    if stem in root._label_files:
        return root.labels / root._label_files[stem]
    # Beside labels/ the folder of images may have any name: DIR/photos/a.jpg, DIR/labels/a.png.
    inner = Path(*stem.parts[1:])
    if root.images == root.folder and inner in root._label_files:
        return root.labels / root._label_files[inner]
    return None


def _subfolders(folder):
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        return []


def label_problem(root, file, size, max_pixels, palette=None):
    """What makes the label map unusable for an image of `size` (width, height), or None."""
    path = find_label_map(root, file)
    if path is None:
        return "without a label map"
    try:
        with open_picture(path, max_pixels) as labels:
            fits, same_size = is_label_map(labels, palette), labels.size == size
    except (OSError, ValueError):
        return "whose label map is unreadable"
    if not fits:
        return "whose label map is not one channel of ids"
    return None if same_size else "whose label map has another size"

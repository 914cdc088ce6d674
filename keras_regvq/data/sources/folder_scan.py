"""Walking through a folder of pictures: what is a picture, what is left out, and why."""

import os
import stat
from collections import defaultdict
from pathlib import Path

from PIL import Image

from keras_regvq.data.sources.split_names import name_without_split
from keras_regvq.files.regular_files import open_regular, shown_name

PICTURE_SUFFIXES = {
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".bmp", ".dib", ".gif"),
    *(".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".avifs"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
}
_HEIF_SUFFIXES = {".heic", ".heif", ".hif"}
_UNREAD_SUFFIXES = {
    *(".jxl", ".svg", ".svgz", ".psd", ".xcf", ".ico", ".cur", ".tga", ".dds", ".exr", ".hdr"),
    *(".eps", ".ps", ".ai", ".wmf", ".emf", ".pcx", ".sgi", ".qoi", ".fits", ".icns", ".xpm"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw", ".pfm"),
}
_NO_PICTURES = {
    *(".txt", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".md", ".rst", ".html", ".yaml", ".yml"),
    *(".npy", ".npz", ".mat", ".h5", ".parquet", ".arrow", ".zip", ".tar", ".gz", ".py", ".ipynb"),
    *(".db", ".ini", ".log", ".cfg", ".toml", ".mp4", ".pdf"),
}
_HIDDEN = {
    *("@eadir", "@tmp", "@recycle", "#recycle", "#snapshot", "__macosx", "lost+found"),
    *("$recycle.bin", "recycler", "system volume information", "__pycache__"),
}
LABEL_FOLDERS = (
    *("labels", "annotations", "label", "annotation", "masks", "mask", "label_maps", "labelmaps"),
    *("segmentations", "segmentation", "segmentationclass", "segmentationobject", "seg"),
    *("ground_truth", "groundtruth", "gt"),
)
"""Lower-case names of folders of label maps, the likelier first. Those of a split, such as
train_masks, are known by `is_label_folder`, too."""

_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
_LOOKED_AT_IN_HIDDEN = 10_000


def find_pictures(folder, skipped=()):
    """Looks for pictures in a folder and its subfolders; links are followed, each folder once.

    Args:
        folder: where to look.
        skipped: paths of folders that are no part of it.

    Returns:
        A sorted list of paths relative to `folder`, and a dict of lists: the names of what is left
        out by the reason.
    """
    files, left_out, seen = [], defaultdict(list), set()
    waiting = [(Path(folder), None)]
    while waiting:
        current, reason = waiting.pop()
        relative = current.relative_to(folder)
        if not _is_new(current, seen):
            left_out["in links to folders that are read already"].append(_shown(relative) + "/")
            continue
        try:
            with os.scandir(current) as listing:
                entries = sorted(listing, key=lambda entry: entry.name, reverse=True)
        except OSError:
            left_out["in folders that cannot be opened"].append(_shown(relative) + "/")
            continue
        for entry in entries if reason is None else entries[:_LOOKED_AT_IN_HIDDEN]:
            path = current / entry.name
            if _is_folder(entry):
                if path not in skipped:
                    waiting.append((path, reason or _reason_of_folder(entry.name)))
                continue
            problem = _problem(path, relative / entry.name, reason)
            if problem is None:
                files.append(relative / entry.name)
            elif problem:
                left_out[problem].append(_shown(relative / entry.name))
    return sorted(files), {reason: sorted(names) for reason, names in left_out.items()}


def is_hidden(name):
    """Whether a folder or file is one of a program, such as .ipynb_checkpoints or @eaDir."""
    return name.startswith(".") or name.lower() in _HIDDEN


def is_label_folder(name):
    """Whether a folder's name says that it holds label maps."""
    name = name.lower()
    return name in LABEL_FOLDERS or name_without_split(name) in LABEL_FOLDERS


def find_folder(folder, names):
    """The first subfolder that has one of the lower-case names in any case, or None."""
    try:
        with os.scandir(folder) as listing:
            found = {entry.name.lower(): entry.name for entry in listing if _is_folder(entry)}
    except OSError:
        return None
    return next((Path(folder) / found[name] for name in names if name in found), None)


def _problem(path, relative, reason):
    """Why a file is left out, "" if it is none that could be a picture, None if it is taken."""
    suffix = path.suffix.lower()
    known = suffix in PICTURE_SUFFIXES or (suffix in _HEIF_SUFFIXES and _has_heif())
    if not known:
        if suffix in _UNREAD_SUFFIXES | _HEIF_SUFFIXES:
            return reason or "of a kind that is not read"
        if suffix in _NO_PICTURES or reason or is_hidden(path.name) or not _looks_like_one(path):
            return ""
        return "without an image file extension"
    if reason or is_hidden(path.name):
        return reason or "hidden"
    try:
        str(relative).encode()
    except UnicodeEncodeError:
        return "whose name is not UTF-8"
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return "that cannot be opened"  # a broken link
    return None if stat.S_ISREG(mode) else "that are no regular files"


def _reason_of_folder(name):
    if is_hidden(name):
        return "in hidden folders"
    return "in folders of label maps" if is_label_folder(name) else None


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_new(path, seen):
    try:
        status = os.stat(path)
    except OSError:
        return True  # which is reported when it is opened
    known = (status.st_dev, status.st_ino) in seen
    seen.add((status.st_dev, status.st_ino))
    return not known


def _looks_like_one(path):
    try:
        with open_regular(path) as file:
            head = file.read(16)
    except OSError:
        return False
    return head.startswith(_MAGIC) or head[8:12] == b"WEBP" or head[4:12] == b"ftypavif"


def _has_heif():
    return "HEIF" in Image.OPEN


def _shown(path):
    return shown_name(path.as_posix())

"""WebDataset's tar files: consecutive members of one stem are one sample."""

import json
import tarfile

from keras_regvq.data.image_files import EncodedPicture
from keras_regvq.data.sources.samples import Sample
from keras_regvq.files.regular_files import open_regular, shown_name

IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "ppm", "avif", "jp2")
LABELS = ("labels.png", "label_map.png", "segmentation.png", "seg.png", "mask.png")
_TEXTS = ("txt", "text", "caption")
_MOST_BYTES = 2**29  # of a member; the limit of what is decoded is lower


def webdataset_samples(path):
    """The samples of a tar file, compressed or not, read from its start to its end.

    A member KEY.EXTENSION belongs to the sample KEY; the extension begins at the first dot of the
    file's name. Pictures are known by `IMAGES`, label maps by `LABELS`; captions are the lines of
    KEY.txt, or of KEY.json's "caption" or "captions". Others are left alone.

    Args:
        path: the file.

    Yields:
        `Sample`.

    Raises:
        OSError, ValueError: naming the file, if it cannot be opened, or read to its end.
    """
    for key, members in tar_members(path, (*IMAGES, *LABELS, *_TEXTS, "json")):
        yield _sample(key, members)


def tar_members(path, extensions):
    """(key, {extension: bytes}) of each sample of a tar file, with the extensions asked for."""
    key, members = None, {}
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file, mode="r|*") as archive:
            for member in archive:
                stem, extension = _key(member.name)
                if not member.isfile() or not extension or member.size > _MOST_BYTES:
                    continue
                if stem != key and members:
                    yield key, members
                    members = {}
                key = stem
                if extension in extensions:
                    members[extension] = archive.extractfile(member).read()
        if members:
            yield key, members
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(f"{shown_name(path)} cannot be read as a tar file: {error}") from error


def _key(name):
    """("a/0001", "labels.png") of "a/0001.labels.png"; no extension for what is hidden."""
    folder, _, file = name.rpartition("/")
    stem, _, extension = file.partition(".")
    if not stem:
        return name, ""
    return f"{folder}/{stem}" if folder else stem, extension.lower()


def _sample(key, members):
    def picture(names):
        found = next((name for name in names if name in members), None)
        return None if found is None else EncodedPicture(f"{key}.{found}", members[found])

    texts = [members[name].decode("utf-8", "replace") for name in _TEXTS if name in members]
    captions = [line.strip() for text in texts for line in text.splitlines()]
    if not texts and "json" in members:
        captions = _captions(members["json"])
    shown = shown_name(key)
    return Sample(shown, picture(IMAGES), picture(LABELS), tuple(c for c in captions if c))


def _captions(text):
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    found = found if isinstance(found, dict) else {}
    captions = found.get("captions", found.get("caption", []))
    captions = [captions] if isinstance(captions, str) else captions
    return [c for c in captions if isinstance(c, str)] if isinstance(captions, list) else []

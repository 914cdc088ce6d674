"""Which folders hold the training images, and which those that are held out: by their names."""

import re
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from keras_regvq.files.regular_files import shown_name

_TRAIN = ("train", "training", "trn", "trainval")
# The first of these that is there is the split "test".
_HELD_OUT = (
    *("test", "testing", "tests", "tst", "evaluation", "eval", "heldout", "holdout"),
    *("validation", "valid", "val", "dev", "development"),
)
_RANKS = {word: rank for rank, word in enumerate((*_TRAIN, *_HELD_OUT))}
_FILLERS = {"set", "split", "data", "images", "image", "imgs", "img", "pictures", "photos"}


@dataclass(frozen=True)
class SplitFolders:
    """Names of the folders of each split inside of one folder, and of those that are in none."""

    train: tuple
    test: tuple
    others: tuple = ()

    def split_of(self, name):
        """ "train", "test", "neither", or None for what is no folder of a split."""
        found = {"train": self.train, "test": self.test, "neither": self.others}
        return next((split for split, names in found.items() if name in names), None)


def find_split_folders(names):
    """Finds the folders of training and of held-out images among folders.

    They differ in one word alone: "train" and "Val", "train2017" and "val2017", "cats-training" and
    "cats-testing". Of several held-out ones the first by the order of `_HELD_OUT` is for testing.

    Returns:
        `SplitFolders`, or None if there are not both kinds; and the names that say nothing
        but a split, of one kind without the other.
    """
    groups = defaultdict(list)
    for name in names:
        word, rest = _split_word(name)
        if word is not None:
            groups[rest].append((_RANKS[word], name))
    train, test, others, alone = [], [], [], []
    for rest, group in groups.items():
        group = sorted(group)
        training = [name for rank, name in group if rank < len(_TRAIN)]
        held_out = [name for rank, name in group if rank >= len(_TRAIN)]
        if training and held_out:
            train.append(training[0])
            test.append(held_out[0])
            others += [*training[1:], *held_out[1:]]
        elif not rest:
            alone += training + held_out
    if not train:
        return None, sorted(alone)
    return SplitFolders(tuple(train), tuple(test), tuple(others)), []


def path_hash(file):
    """CRC-32 of a path without its suffix."""
    return zlib.crc32(file.with_suffix("").as_posix().encode())


def files_of_split(files, split):
    """Chooses relative paths by folders of splits deeper down, or else by the CRC-32.

    Returns:
        Those of split "train", "test" or "all", and a dict of what is in neither of the first two.
    """
    if split == "all":
        return files, {}
    nested = _splits_of_nested(files)
    neither = [shown_name(file) for file, found in nested.items() if found == "neither"]
    by_hash = {True: "test", False: "train"}
    chosen = [f for f in files if (nested.get(f) or by_hash[path_hash(f) % 10 == 0]) == split]
    return chosen, {"in folders of further splits": neither}


def _splits_of_nested(files):
    """Splits of files by split folders deeper in a tree, such as birds/train/ and birds/test/.

    Args:
        files: relative paths.

    Returns:
        dict of those files that are in such folders: "train", "test" or "neither".
    """
    children = defaultdict(set)
    for parent in {parent for file in files for parent in file.parents if parent != Path(".")}:
        children[parent.parent].add(parent.name)
    found = {parent: find_split_folders(names)[0] for parent, names in children.items()}
    found = {parent: splits for parent, splits in found.items() if splits is not None}
    result = {}
    for file in files if found else ():
        for parent in reversed(file.parents[:-1]):
            splits = found.get(parent.parent)
            split = splits and splits.split_of(parent.name)
            if split:
                result[file] = split
                break
    return result


def describe_splits(splits):
    """Which folders are which split, where some are in none; else None."""
    if not splits.others:
        return None
    train, test, others = (
        ", ".join(f"{shown_name(name)}/" for name in names)
        for names in (splits.train, splits.test, splits.others)
    )
    return f'"train" is {train}, "test" is {test}, and {others} left out.'


def name_without_split(name):
    """A folder's name in lower case without the word of a split: "masks" of "train_masks"."""
    return "_".join(_split_word(name)[1])


def _split_word(name):
    """The word that makes a name one of a split, or None; and its other words, without fillers."""
    text = re.sub(r"(held|hold)[ _-]out", r"\1out", name.lower())
    words = [re.sub(r"(.)set$", r"\1", word) for word in re.split(r"[^a-z]+", text) if word]
    words = [word for word in words if word not in _FILLERS]
    found = [word for word in words if word in _RANKS]
    if len(found) != 1:
        return None, tuple(words)
    return found[0], tuple(word for word in words if word != found[0])

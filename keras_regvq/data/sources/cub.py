"""CUB-200-2011: birds, with the usual ten captions each."""

from keras_regvq.checks.arguments import refuse
from keras_regvq.data.sources.captions_file import WRONG, captions_beside
from keras_regvq.data.sources.folder_roots import Root
from keras_regvq.data.sources.folders import FolderExamples
from keras_regvq.files.regular_files import open_regular

_CAPTION_FOLDERS = ("text_c10", "text")


class CubExamples(FolderExamples):
    """The usable birds of one split of CUB-200-2011, read by number.

        DIR/images/001.Black_footed_Albatross/Black_Footed_Albatross_0001_796111.jpg ...
        DIR/text_c10/001.Black_footed_Albatross/Black_Footed_Albatross_0001_796111.txt
                                                        a caption a line; or in DIR/text

    DIR is the folder CUB_200_2011 of Wah et al. 2011, with the captions of Reed et al., "Learning
    Deep Representations of Fine-grained Visual Descriptions" (2016), beside images/.

    Splits: with trainvalclasses.txt and testclasses.txt of Reed et al. in DIR, their 150 and 50
    classes, as text-to-image work uses them; or else those of train_test_split.txt, the data set's
    own; without either the CRC-32 decides, as in `FolderExamples`. What is skipped, and the
    arguments, are those of `FolderExamples`.

    Raises:
        ValueError: for a folder that is missing, or has no usable image for the split.
    """

    kind = "cub"

    def _find_split(self, directory, split):
        if not (directory / "images").is_dir():
            refuse("source", f"{directory} without a folder images/", "CUB_200_2011, with images/")
        return [Root(directory)], True

    def _read_captions(self, root, files):
        folders = (root.folder / name for name in _CAPTION_FOLDERS)
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if folder is None:
            expected = 'text_c10/ with a file of captions a bird, for the field "captions"'
            refuse("source", f"{root.folder} without a folder text_c10/", expected)
        return folder

    def _captions_of(self, root, file):
        texts, wrong = captions_beside((root.captions / file).with_suffix(".txt"))
        self._left_out.add({WRONG: wrong})
        return texts

    def _of_split(self, files, split):
        if split == "all":
            return files
        directory = self._directory
        by_class = {
            "train": directory / "trainvalclasses.txt",
            "test": directory / "testclasses.txt",
        }
        if all(path.is_file() for path in by_class.values()):
            classes = {word for words in _lines(by_class[split]) for word in words}
            return [file for file in files if file.parts[0] in classes]
        numbered, marked = directory / "images.txt", directory / "train_test_split.txt"
        if not (numbered.is_file() and marked.is_file()):
            return super()._of_split(files, split)
        names = {words[0]: words[1] for words in _lines(numbered) if len(words) == 2}
        wanted = "1" if split == "train" else "0"
        marks = (words for words in _lines(marked) if len(words) == 2)
        names = {names.get(number) for number, mark in marks if mark == wanted}
        return [file for file in files if file.as_posix() in names]


def _lines(path):
    """The words of each line, two at most."""
    with open_regular(path) as file:
        text = file.read().decode("utf-8", "replace")
    return [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]

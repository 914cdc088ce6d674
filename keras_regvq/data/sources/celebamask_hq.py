"""CelebAMask-HQ: faces, and label maps that are merged from the masks of their parts."""

import numpy as np

from keras_regvq.checks.arguments import refuse
from keras_regvq.data.decoding import fit_labels, open_picture
from keras_regvq.data.sources.folder_roots import Root
from keras_regvq.data.sources.folders import FolderExamples

CELEBAMASK_HQ_CLASSES = (
    "background",
    *("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear"),
    *("mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth"),
)
"""Names of the 19 labels, in order; 1 to 18 as the files of the parts are named."""

_FACES_IN_A_FOLDER = 2000
_FIRST_TEST_FACE = 28000
_MASK_PIXELS = 2**24  # the original ones have 2**18


class CelebAMaskHQExamples(FolderExamples):
    """The usable faces of one split of CelebAMask-HQ, read by number.

        DIR/CelebA-HQ-img/{number}.jpg                                  0.jpg to 29999.jpg
        DIR/CelebAMask-HQ-mask-anno/{number // 2000}/{number:05d}_{part}.png
                                                        0/00000_hair.png; 0 outside of the part

    DIR is the folder CelebAMask-HQ of Lee et al. 2020, "MaskGAN: Towards Diverse and Interactive
    Facial Image Manipulation". The masks of a face are laid over each other in the order of
    `CELEBAMASK_HQ_CLASSES`, as its authors do, so a later part covers an earlier one; a part
    without a file is not in the picture. The masks are 512 pixels wide and the faces 1024: each is
    brought to the size asked for from its own.

    Splits: the faces from 28000 on, the last 2,000, are the test split, if there are faces on both
    sides of it; otherwise the CRC-32 decides, as in `FolderExamples`. CelebA's own partition is
    another one, which these folders do not hold.

    A face without any mask is skipped; of its masks, only the first one's header is looked at
    beforehand. What else is skipped, and the arguments, are those of `FolderExamples`.

    Raises:
        ValueError: for a folder that is missing, or has no usable face for the split.
    """

    kind = "celebamask_hq"
    classes = len(CELEBAMASK_HQ_CLASSES)
    _image_folder, _label_folders = "CelebA-HQ-img", ("CelebAMask-HQ-mask-anno",)

    def _find_split(self, directory, split):
        name = self._image_folder
        if not (directory / name).is_dir():
            refuse("source", f"{directory} without a folder {name}/", f"CelebAMask-HQ, with {name}")
        return [Root(directory)], True

    def _of_split(self, files, split):
        files = [file for file in files if file.stem.isdecimal()]
        is_late = [int(file.stem) >= _FIRST_TEST_FACE for file in files]
        if split == "all" or all(is_late) or not any(is_late):
            return super()._of_split(files, split)
        return [f for f, late in zip(files, is_late, strict=True) if late == (split == "test")]

    def _label_problem(self, root, file, size):
        path = next((path for _, path in self._masks(root, file)), None)
        if path is None:
            return "without a label map"
        with open_picture(path, _MASK_PIXELS) as mask:
            same = mask.width * size[1] == mask.height * size[0]
        return None if same else "whose masks have another aspect ratio"

    def _read_label_map(self, root, file):
        labels = None
        for label, path in self._masks(root, file):
            with open_picture(path, _MASK_PIXELS) as mask:  # in the original these are RGB
                inside = np.asarray(mask.convert("L")) > 0
            if labels is None:
                labels = np.zeros(inside.shape, np.int32)
            if inside.shape != labels.shape:
                raise ValueError(f"{path.name} has another size than the masks before it")
            labels[inside] = label
        return fit_labels(labels, *self.size)

    def _masks(self, root, file):
        """Yields (label, path) of the parts that have a mask, in the order they are laid in."""
        number = int(file.stem)
        folder = root.labels / str(number // _FACES_IN_A_FOLDER)
        for label, part in enumerate(CELEBAMASK_HQ_CLASSES[1:], 1):
            path = folder / f"{number:05d}_{part}.png"
            if path.is_file():
                yield label, path

"""ADE20K as the scene parsing challenge gives it: photos and label maps of 150 classes."""

from keras_regvq.checks.arguments import refuse
from keras_regvq.data.sources.folder_roots import Root
from keras_regvq.data.sources.folders import FolderExamples

ADE20K_CLASSES = (
    "void",
    *("wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass"),
    *("cabinet", "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain"),
    *("chair", "car", "water", "painting", "sofa", "shelf", "house", "sea", "mirror", "rug"),
    *("field", "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp", "bathtub"),
    *("railing", "cushion", "base", "box", "column", "signboard", "chest of drawers", "counter"),
    *("sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path", "stairs"),
    *("runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge"),
    *("bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench"),
    *("countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat", "bar"),
    *("arcade machine", "hovel", "bus", "towel", "light", "truck", "tower", "chandelier", "awning"),
    *("streetlight", "booth", "television", "airplane", "dirt track", "apparel", "pole", "land"),
    *("bannister", "escalator", "ottoman", "bottle", "buffet", "poster", "stage", "van", "ship"),
    *("fountain", "conveyer belt", "canopy", "washer", "plaything", "swimming pool", "stool"),
    *("barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food"),
    *("step", "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher"),
    *("screen", "blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray"),
    *("ashcan", "fan", "pier", "crt screen", "plate", "monitor", "bulletin board", "shower"),
    *("radiator", "glass", "clock", "flag"),
)
"""Names of the 151 labels, in order: 0 is what no class covers, 1 to 150 are called by their first
name in objectInfo150.txt."""

_FOLDERS = {"train": "training", "test": "validation"}


class Ade20kExamples(FolderExamples):
    """The usable images of one split of ADE20K, read by number.

        DIR/images/{training,validation}/*.jpg
        DIR/annotations/{training,validation}/*.png     one channel of ids, 0 to 150

    DIR is the folder ADEChallengeData2016 of Zhou et al. 2017, "Scene Parsing through ADE20K
    Dataset" (20,210 and 2,000 images). "test" is its validation set: the benchmark's own test set
    has no label maps. What is skipped, and the arguments, are those of `FolderExamples`.

    Raises:
        ValueError: for a folder that is missing, or has no usable image for the split; while
            reading, for a label above 150: that is not a broken file but another data set, or one
            whose ids were moved (0 to 149, with 255 for void).
    """

    kind = "ade20k"
    classes = len(ADE20K_CLASSES)
    _label_folders = ("annotations",)

    def _find_split(self, directory, split):
        folders = tuple(_FOLDERS.values()) if split == "all" else (_FOLDERS[split],)
        for folder in folders:
            if not (directory / "images" / folder).is_dir():
                expected = "ADEChallengeData2016, with training/ and validation/ in images/"
                refuse("source", f"{directory} without a folder images/{folder}/", expected)
        return [Root(directory, folder) for folder in folders], False

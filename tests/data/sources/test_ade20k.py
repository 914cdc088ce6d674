"""Small folders of the layout of ADEChallengeData2016."""

import numpy as np
import pytest
from PIL import Image

from keras_regvq.data import ADE20K_CLASSES, SCENE_CLASSES, label_classes, load

FIELDS = ("images", "labels")
TRAIN, TEST = "training/ADE_train_0000000", "validation/ADE_val_0000000"


def write(folder, name, labels, grey=0):
    """A grey photo as JPEG, with its label map; None: without one."""
    photo = folder / "images" / f"{name}.jpg"
    label_map = folder / "annotations" / f"{name}.png"
    for path in (photo, label_map):
        path.parent.mkdir(parents=True, exist_ok=True)
    shape = (32, 32) if labels is None else labels.shape
    Image.fromarray(np.full((*shape, 3), grey, np.uint8)).save(photo)
    if labels is not None:
        Image.fromarray(labels.astype(np.uint8)).save(label_map)


def full(label):
    return np.full((32, 32), label)


def read_all(folder, split="train", **options):
    options = {"image_size": 32, "batch_size": None, "fields": FIELDS, **options}
    return list(load(f"ade20k:{folder}", split, **options).as_numpy_iterator())


def test_each_split_has_its_photos_with_all_ids_from_void_to_150(tmp_path):
    ids = np.arange(32 * 32).reshape(32, 32) % 151
    write(tmp_path, f"{TRAIN}1", ids, grey=40)
    for number in (1, 2):
        write(tmp_path, f"{TEST}{number}", full(number), grey=100 * number)
    (train,) = read_all(tmp_path)
    np.testing.assert_array_equal(train["labels"], ids)
    assert (train["images"] == 40).all() and train["labels"].dtype == np.int32
    test = read_all(tmp_path, "test")
    assert {(int(e["images"][0, 0, 0]), int(e["labels"].max())) for e in test} == {
        (100, 1),
        (200, 2),
    }


def test_a_label_map_has_the_geometry_of_its_photo(tmp_path):
    labels = np.zeros((64, 128), np.uint8)
    labels[:32, 32:64], labels[32:, 64:96] = 150, 7  # the centre is all that is kept
    write(tmp_path, f"{TRAIN}1", labels)
    photo = tmp_path / "images" / f"{TRAIN}1.jpg"
    Image.fromarray(labels).convert("RGB").save(photo, quality=100, subsampling=0)
    (example,) = read_all(tmp_path)
    expected = np.zeros((32, 32), int)
    expected[:16, :16], expected[16:, 16:] = 150, 7
    np.testing.assert_array_equal(example["labels"], expected)
    far_from_edges = np.abs(np.arange(32) - 15.5) > 4
    shown = example["images"][far_from_edges][:, far_from_edges, 0].astype(int)
    assert np.abs(shown - expected[far_from_edges][:, far_from_edges]).max() <= 12


def test_photos_that_cannot_be_used_are_skipped_with_one_warning(tmp_path):
    for number, labels in ((1, full(3)), (2, None), (3, full(4)), (4, full(5))):
        write(tmp_path, f"{TRAIN}{number}", labels)
    (tmp_path / "images" / f"{TRAIN}3.jpg").write_bytes(b"no picture")
    Image.new("RGB", (32, 32)).save(tmp_path / "annotations" / f"{TRAIN}4.png")
    with pytest.warns(UserWarning) as caught:
        (example,) = read_all(tmp_path)
    assert (example["labels"] == 3).all()
    assert len(caught) == 1
    for part in (
        f"1 without a label map ({TRAIN}2.jpg)",
        f"1 unreadable ({TRAIN}3.jpg)",
        f"1 whose label map is not one channel of ids ({TRAIN}4.jpg)",
    ):
        assert part in str(caught[0].message)


@pytest.mark.parametrize("label", [151, 255])
def test_an_id_above_150_is_an_error_that_names_the_file_and_verify_skips_it(tmp_path, label):
    write(tmp_path, f"{TRAIN}1", full(150))
    labels = full(0)
    labels[0, 0] = label  # also where it would be lost in scaling
    write(tmp_path, f"{TRAIN}2", labels)
    for size in (32, 8):
        expected = rf"`source`.*{TRAIN}2.png with label {label}.*up to 150; verify=True"
        with pytest.raises(Exception, match=expected):
            read_all(tmp_path, image_size=size)
    assert len(read_all(tmp_path, fields=("images",))) == 2
    with pytest.warns(UserWarning, match=rf"1 with labels above 150 \({TRAIN}2.jpg\)"):
        (example,) = read_all(tmp_path, verify=True)
    assert (example["labels"] == 150).all()


def test_folders_that_are_not_there_or_empty_are_errors(tmp_path):
    with pytest.raises(ValueError, match=r'`source`.*"ade20k:.*nowhere".*a folder that exists'):
        load(f"ade20k:{tmp_path / 'nowhere'}")
    write(tmp_path / "ADEChallengeData2016", f"{TRAIN}1", full(1))
    with pytest.raises(ValueError, match="`source`.*images/training/.*ADEChallengeData2016"):
        load(f"ade20k:{tmp_path}")
    with pytest.raises(ValueError, match="`source`.*without a folder images/validation/"):
        load(f"ade20k:{tmp_path / 'ADEChallengeData2016'}", "test")
    (tmp_path / "images" / "training").mkdir(parents=True)
    with pytest.raises(ValueError, match="`source`.*without a folder annotations/"):
        load(f"ade20k:{tmp_path}", fields=FIELDS)
    with pytest.raises(ValueError, match="`source`.*with 0 images.*usable images"):
        load(f"ade20k:{tmp_path}")
    with pytest.raises(ValueError, match="`first_seed`.*min_size, verify"):
        load(f"ade20k:{tmp_path}", first_seed=3)


def test_the_classes_are_objectinfo150s_after_void():
    assert len(ADE20K_CLASSES) == len(set(ADE20K_CLASSES)) == 151
    known = {0: "void", 1: "wall", 3: "sky", 13: "person", 21: "car", 22: "water", 67: "flower"}
    known |= {91: "airplane", 110: "swimming pool", 137: "traffic light", 150: "flag"}
    assert {label: ADE20K_CLASSES[label] for label in known} == known


def test_label_classes_are_known_of_sources_with_classes_of_their_own():
    assert label_classes("scenes") == len(SCENE_CLASSES) == 16
    assert label_classes("ade20k:somewhere") == 151
    assert label_classes("celebamask_hq:somewhere") == 19
    for source in ("folder:somewhere", "npz:a.npz", "tfds:coco"):
        assert label_classes(source) is None
    for source in ("ade20k", "ade20k:", "scenes:1", "elsewhere:x", None):
        with pytest.raises(ValueError, match="`source`.*Received.*ade20k:DIR.*celebamask_hq:DIR"):
            label_classes(source)

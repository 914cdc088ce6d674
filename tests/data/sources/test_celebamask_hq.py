"""Small folders of the layout of CelebAMask-HQ."""

import zlib

import numpy as np
import pytest
from PIL import Image

from keras_regvq.data import CELEBAMASK_HQ_CLASSES, load

FIELDS = ("images", "labels")


def write(folder, number, parts=("skin",), grey=0):
    """A grey face of 64 pixels and masks of 32: of everything, or of what `parts` says."""
    faces = folder / "CelebA-HQ-img"
    masks = folder / "CelebAMask-HQ-mask-anno" / str(number // 2000)
    for path in (faces, masks):
        path.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((64, 64, 3), grey, np.uint8)).save(faces / f"{number}.jpg")
    parts = parts if isinstance(parts, dict) else dict.fromkeys(parts, np.ones((32, 32), bool))
    for part, inside in parts.items():
        mask = np.repeat(np.uint8(255 * inside)[:, :, None], 3, 2)
        Image.fromarray(mask).save(masks / f"{number:05d}_{part}.png")


def read_all(folder, split="train", **options):
    options = {"image_size": 32, "batch_size": None, "fields": FIELDS, **options}
    return list(load(f"celebamask_hq:{folder}", split, **options).as_numpy_iterator())


def numbers(folder, split):
    return sorted(int(e["images"][0, 0, 0]) // 20 for e in read_all(folder, split))


def number_of_a_split(split):
    is_test = split == "test"
    return next(n for n in range(100) if (zlib.crc32(str(n).encode()) % 10 == 0) == is_test)


def box(left, right):
    inside = np.zeros((32, 32), bool)
    inside[4:28, left:right] = True
    return inside


def test_parts_are_laid_in_order_and_what_is_in_none_is_background(tmp_path):
    number = number_of_a_split("train")
    write(tmp_path, number, {"hair": box(0, 20), "skin": box(8, 32), "l_eye": box(10, 30)})
    (example,) = read_all(tmp_path)
    expected = np.zeros((32, 32), int)
    expected[4:28, 8:32] = 1  # skin
    expected[4:28, 10:30] = 4  # l_eye
    expected[4:28, 0:20] = 13  # hair, over both
    np.testing.assert_array_equal(example["labels"], expected)
    assert example["labels"].dtype == np.int32


def test_every_part_has_its_label(tmp_path):
    number = number_of_a_split("train")
    parts = {part: np.zeros((32, 32), bool) for part in CELEBAMASK_HQ_CLASSES[1:]}
    for i, inside in enumerate(parts.values()):
        inside[i] = True
    write(tmp_path, number, parts)
    (example,) = read_all(tmp_path)
    np.testing.assert_array_equal(example["labels"][:, 5], [*range(1, 19), *[0] * 14])
    assert " ".join(CELEBAMASK_HQ_CLASSES) == (
        "background skin nose eye_g l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip hair "
        "hat ear_r neck_l neck cloth"
    )


@pytest.mark.parametrize("size", [8, 16, 64])
def test_faces_and_label_maps_of_different_sizes_have_one_geometry(tmp_path, size):
    number = number_of_a_split("train")
    quarter = np.zeros((32, 32), bool)
    quarter[:16, 16:] = True
    write(tmp_path, number, {"hat": quarter})
    face = Image.fromarray(np.kron(quarter, np.full((2, 2), 255)).astype(np.uint8))
    face.save(tmp_path / "CelebA-HQ-img" / f"{number}.jpg", quality=100)
    (example,) = read_all(tmp_path, image_size=size)
    expected = np.zeros((size, size), int)
    expected[: size // 2, size // 2 :] = 14
    np.testing.assert_array_equal(example["labels"], expected)
    np.testing.assert_array_equal(example["images"][..., 0] > 127, expected > 0)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_masks_of_any_mode_are_read(tmp_path, mode):
    number = number_of_a_split("train")
    write(tmp_path, number)
    mask = Image.fromarray(np.uint8(255 * box(3, 9)))
    path = tmp_path / "CelebAMask-HQ-mask-anno" / "0" / f"{number:05d}_skin.png"
    mask.convert(mode).save(path)
    (example,) = read_all(tmp_path)
    np.testing.assert_array_equal(example["labels"], box(3, 9))


def test_faces_from_28000_on_are_the_test_split(tmp_path):
    for i, number in enumerate((0, 1999, 2000, 27999, 28000, 28001, 29999)):
        write(tmp_path, number, grey=20 * i)
    assert numbers(tmp_path, "train") == [0, 1, 2, 3]
    assert numbers(tmp_path, "test") == [4, 5, 6]


@pytest.mark.parametrize("first", [0, 28000])
def test_faces_on_one_side_of_28000_are_split_by_the_crc32_of_their_names(tmp_path, first):
    for i in range(12):
        write(tmp_path, first + i, grey=20 * i)
    in_test = [i for i in range(12) if zlib.crc32(str(first + i).encode()) % 10 == 0]
    assert numbers(tmp_path, "test") == in_test and in_test
    assert numbers(tmp_path, "train") == [i for i in range(12) if i not in in_test]


def test_faces_that_cannot_be_used_are_skipped_with_one_warning(tmp_path):
    write(tmp_path, 28000)
    for number in (1, 2, 3, 4):
        write(tmp_path, number, ("skin",) if number != 2 else ())
    faces, masks = tmp_path / "CelebA-HQ-img", tmp_path / "CelebAMask-HQ-mask-anno" / "0"
    (faces / "3.jpg").write_bytes(b"no picture")
    (faces / "contact_sheet.jpg").write_bytes(b"no face")
    Image.new("L", (32, 16)).save(masks / "00004_skin.png")
    with pytest.warns(UserWarning) as caught:
        (example,) = read_all(tmp_path)
    assert len(caught) == 1 and (example["labels"] == 1).all()
    for part in (
        "1 without a label map (2.jpg)",
        "1 unreadable (3.jpg)",
        "1 whose masks have another aspect ratio (4.jpg)",
    ):
        assert part in str(caught[0].message)


@pytest.mark.parametrize("broken", ["cut off", "of another size"])
def test_a_face_with_a_broken_mask_is_replaced_with_one_warning(tmp_path, broken):
    noise = np.random.default_rng(0).integers(0, 2, (32, 32)) > 0
    write(tmp_path, 28000)
    write(tmp_path, 1, {"skin": np.ones((32, 32), bool)}, grey=100)
    write(tmp_path, 2, {"skin": np.ones((32, 32), bool), "hair": noise}, grey=200)
    hair = tmp_path / "CelebAMask-HQ-mask-anno" / "0" / "00002_hair.png"
    if broken == "cut off":
        hair.write_bytes(hair.read_bytes()[:100])
    else:
        Image.new("L", (64, 64)).save(hair)
    with pytest.warns(UserWarning, match=r"2.jpg cannot be decoded.*verify=True"):
        examples = read_all(tmp_path)
    assert [int(e["images"][0, 0, 0]) for e in examples] == [100, 100]
    with pytest.warns(UserWarning, match=r"1 unreadable \(2.jpg\)"):
        assert len(read_all(tmp_path, verify=True)) == 1


def test_faces_alone_need_no_masks(tmp_path):
    write(tmp_path, number_of_a_split("test"), (), grey=60)
    (example,) = read_all(tmp_path, "test", fields="images")
    assert set(example) == {"images"} and (example["images"] == 60).all()


def test_folders_that_are_not_there_or_empty_are_errors(tmp_path):
    with pytest.raises(ValueError, match='`source`.*"celebamask_hq:.*nowhere".*folder that exists'):
        load(f"celebamask_hq:{tmp_path / 'nowhere'}")
    with pytest.raises(ValueError, match="`source`.*without a folder CelebA-HQ-img/"):
        load(f"celebamask_hq:{tmp_path}")
    (tmp_path / "CelebA-HQ-img").mkdir()
    with pytest.raises(ValueError, match="`source`.*without a folder CelebAMask-HQ-mask-anno/"):
        load(f"celebamask_hq:{tmp_path}", fields=FIELDS)
    with pytest.raises(ValueError, match="`source`.*with 0 images.*usable images"):
        load(f"celebamask_hq:{tmp_path}")
